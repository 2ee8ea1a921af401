namespace Kapell.Storage;

/// <summary>Work on large files in steps, with a rest between them, for whoever waits for the same disk.</summary>
public static class GentleDisk
{
    /// <summary>A good rest between two steps of a deletion, of which a file system does the most part later.</summary>
    public static readonly TimeSpan RestOfDeletion = TimeSpan.FromMilliseconds(20);

    private const long StepBytes = 2 << 20;

    /// <summary>
    /// Deletes a file from its end: a file system that gives back gigabytes at once lets everybody wait. What is left after a crash is a
    /// shorter file, so it must have a name that nobody reads.
    /// </summary>
    /// <param name="rest">Called after each step; what it throws ends the work.</param>
    public static void DeleteInSteps(this IDisk disk, string path, Action rest)
    {
        using (IDiskFile file = disk.Open(path, DiskOpen.ReadWrite))
        {
            // At whole steps: of a block that a file ends in the middle of, the rest is written as zeros, for which it is read first.
            for (long length = file.Length; length > StepBytes;)
            {
                length = (length - 1) / StepBytes * StepBytes;
                file.SetLength(length);
                rest();
            }
        }

        disk.Delete(path);
    }
}
