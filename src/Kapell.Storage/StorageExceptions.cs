namespace Kapell.Storage;

/// <summary>
/// The disk refused a write or a flush. Never retried: the kernel may have dropped the pages and report success the next time
/// (as PostgreSQL learned in 2018). The process must stop and replay.
/// </summary>
public sealed class DiskFailedException(string path, string operation, Exception? cause)
    : IOException($"{operation} of {path} failed: {cause?.Message ?? "the device reported an error"}; what is not on the disk cannot be "
        + "acknowledged, so this process stops: check the device (dmesg), then start again", cause)
{
    public string Path { get; } = path;
}

/// <summary>No space is left (or the quota is used up).</summary>
public sealed class DiskFullException(string path, string operation)
    : IOException($"{operation} of {path} failed: no space left on the device; free space, then start again")
{
    public string Path { get; } = path;
}

/// <summary>A file of the log or a checkpoint is damaged before its end: data that was acknowledged may be lost, so we refuse to start.</summary>
public sealed class CorruptLogException(string file, long offset, string reason)
    : IOException($"{file} is damaged at offset {offset}: {reason}. Do not delete it. If the cluster has other members, remove this "
        + "member, empty its data directory and add it anew; otherwise restore the newest snapshot you have saved")
{
    public string File { get; } = file;

    public long Offset { get; } = offset;

    public string Reason { get; } = reason;
}

/// <summary>A file of the log or a checkpoint has a format that this program does not know: nothing is wrong with it, or with its data.</summary>
public sealed class UnknownFormatException(string file, uint version, uint known)
    : IOException($"{file} has format version {version}, and this program knows only {known}: it was written by a newer version of Kapell. "
        + "Start that version again; nothing was changed")
{
    public uint Version { get; } = version;
}

/// <summary>Another process works on the same directory.</summary>
public sealed class DirectoryLockedException(string directory, string holder)
    : IOException($"the data directory {directory} is in use by {holder}: stop that first, or choose another directory");
