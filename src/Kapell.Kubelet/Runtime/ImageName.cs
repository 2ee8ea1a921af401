namespace Kapell.Kubelet.Runtime;

/// <summary>Reads image references as far as the kubelet must.</summary>
internal static class ImageName
{
    /// <summary>The tag, <c>latest</c> when there is neither tag nor digest, empty for a digest alone.</summary>
    public static string TagOf(string image)
    {
        int digest = image.IndexOf('@', StringComparison.Ordinal);
        string name = digest < 0 ? image : image[..digest];
        int colon = name.LastIndexOf(':');
        bool hasTag = colon > name.LastIndexOf('/');
        return hasTag ? name[(colon + 1)..] : digest < 0 ? "latest" : "";
    }

    /// <summary>What the runtime is asked for: a name without tag and digest means <c>:latest</c>.</summary>
    public static string WithDefaultTag(string image) =>
        image.Contains('@', StringComparison.Ordinal) || image.LastIndexOf(':') > image.LastIndexOf('/') ? image : image + ":latest";
}
