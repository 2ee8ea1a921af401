using Kapell.Base;
using Kapell.Cli.Up;

namespace Kapell.Cli.Images;

/// <summary><c>kapell images build</c> and <c>kapell images list</c>: the folder of archives that the local registry serves.</summary>
internal static class ImagesCommand
{
    public static async Task<int> RunAsync(IReadOnlyList<string> args, TextWriter output, CancellationToken stopping)
    {
        FlagSet flags = new("kapell images (build|list)", "Builds pause, busybox and nginx from Debian packages into the folder that kapell up serves, or lists what lies there.");
        FlagValue<string> dir = flags.String("dir", ClusterLayout.DefaultImages, "The folder of image archives.");
        flags.Examples.Add("kapell images build");
        flags.Examples.Add("skopeo copy docker://docker.io/library/redis:7 oci-archive:/var/lib/kapell/images/redis.tar:docker.io/library/redis:7");
        flags.Parse(args);
        if (flags.HelpWanted || flags.Arguments.Count == 0)
        {
            output.Write(flags.Help());
            return flags.HelpWanted ? 0 : 2;
        }

        string folder = Path.GetFullPath(dir.Value);
        switch (flags.Arguments[0])
        {
            case "build":
                await ImageBuilder.BuildAllAsync(folder, output, stopping);
                return 0;
            case "list":
                ImageStore images = new(folder, output.WriteLine);
                foreach (string reference in images.References.Order(StringComparer.Ordinal))
                {
                    output.WriteLine(reference);
                }

                return 0;
            default:
                throw new FlagException($"unknown argument \"{flags.Arguments[0]}\": it is build or list");
        }
    }
}
