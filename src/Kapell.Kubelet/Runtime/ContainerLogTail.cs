using System.Text;

namespace Kapell.Kubelet.Runtime;

/// <summary>The end of a container's log without the CRI prefixes, for termination messages.</summary>
internal static class ContainerLogTail
{
    private const int ReadBytesMax = 64 * 1024;

    public static string Read(string path, int lines, int bytes)
    {
        using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        long start = Math.Max(0, file.Length - ReadBytesMax);
        file.Position = start;
        byte[] buffer = new byte[Math.Min(file.Length, ReadBytesMax)];
        int read = file.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false);
        string[] all = Encoding.UTF8.GetString(buffer, 0, read).Split('\n');
        IEnumerable<string> whole = start > 0 ? all.Skip(1) : all;
        StringBuilder text = new();
        foreach (string line in whole.Where(l => l.Length > 0).TakeLast(lines))
        {
            // "time stream F content"
            string[] parts = line.Split(' ', 4);
            text.Append(parts.Length == 4 ? parts[3] : line);
            text.Append(parts.Length >= 3 && parts[2] == "P" ? "" : "\n");
        }

        return text.Length <= bytes ? text.ToString() : text.ToString(text.Length - bytes, bytes);
    }
}
