namespace Kapell.Storage.Wal;

/// <summary>One record of the log, opaque to it.</summary>
/// <param name="Type">The caller's; not zero.</param>
/// <param name="Tag">
/// The caller's place in history (a log index), by which segments are released; zero when the record has none.
/// </param>
public readonly record struct WalRecord(byte Type, ulong Tag, ReadOnlyMemory<byte> Payload);

/// <summary>The settings of a log.</summary>
public sealed record WalOptions
{
    public int SegmentBytes { get; init; } = 64 * 1024 * 1024;

    /// <summary>A longer record is a mistake of the caller, and a longer length on disk is damage.</summary>
    public int RecordBytesMax { get; init; } = 256 * 1024 * 1024;

    /// <summary>
    /// Records to stand at the head of each segment but the first: what replay must know even when earlier segments are released (who we
    /// are, term and vote).
    /// </summary>
    public Func<IReadOnlyList<WalRecord>>? SegmentHead { get; init; }
}

/// <summary>What was found when the log was opened.</summary>
/// <param name="TornFile">The segment whose end was torn by a crash and cut off; null if it ended cleanly.</param>
/// <param name="TornBytes">How many bytes from <paramref name="TornOffset"/> on were cleared. None of them was ever acknowledged.</param>
public sealed record WalRecovery(int Segments, long Records, long Bytes, string? TornFile, long TornOffset, long TornBytes);
