using System.Text;
using Kapell.Storage;

namespace Kapell.Etcd.Server.Hosting;

/// <summary>
/// The token a cluster was founded or restored with, beside the founder's log: cluster and member numbers are made of it, but it cannot be
/// found out from them. With it a data directory of another cluster is told from one that is meant.
/// </summary>
internal static class FoundingToken
{
    private const int BytesMax = 4096;

    public static void Write(IDisk disk, string dataDirectory, string token)
    {
        string path = PathOf(dataDirectory);
        disk.CreateDirectory(Path.GetDirectoryName(path)!);
        using IDiskFile file = disk.Open(path, DiskOpen.Create);
        file.Write(0, Encoding.UTF8.GetBytes(token));
        file.Flush();
    }

    /// <summary>
    /// A token that was named and is another than the one here: a member over whose directory another cluster was to be founded. Etcd passes
    /// over it in silence and runs the old cluster. Where no token was written (joined members, older versions) nothing is said.
    /// </summary>
    /// <exception cref="InvalidDataException">They differ.</exception>
    public static void Verify(IDisk disk, string dataDirectory, string token, string whenNotNamed)
    {
        string path = PathOf(dataDirectory);
        if (token == whenNotNamed || !File.Exists(path))
        {
            return;
        }

        using IDiskFile file = disk.Open(path, DiskOpen.Read);
        byte[] bytes = new byte[Math.Min(file.Length, BytesMax)];
        string there = Encoding.UTF8.GetString(bytes, 0, file.Read(0, bytes));
        if (there.Length > 0 && there != token)
        {
            throw new InvalidDataException(
                $"{dataDirectory} holds a member of a cluster that was founded with --initial-cluster-token={there}, not {token}: to found another cluster "
                + "give it another --data-dir; to run the one that is there give its token, or none");
        }
    }

    private static string PathOf(string dataDirectory) => Path.Combine(dataDirectory, "member", "founding-token");
}
