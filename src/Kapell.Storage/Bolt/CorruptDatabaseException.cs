namespace Kapell.Storage.Bolt;

/// <summary>A file that should be a bbolt database (a saved snapshot) is none, or is damaged.</summary>
public sealed class CorruptDatabaseException(string file, long offset, string reason)
    : IOException($"{file} is no database that can be read: {reason}")
{
    public string File { get; } = file;

    public long Offset { get; } = offset;

    public string Reason { get; } = reason;
}
