using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Kapell.Etcd.Server.Hosting;
using Kapell.Storage;
using Kapell.Storage.Wal;

namespace Kapell.Etcd.Server.Backups;

/// <summary>What a backup begins with, as its file <c>backup.json</c> says; written last, so a folder without it is unfinished.</summary>
/// <param name="Sum">A checksum over the content (<see cref="ContentSum"/>): what is read back must have the same.</param>
internal sealed record BackupInfo(
    ulong ClusterId, ulong MemberId, ulong Index, ulong Term, long Revision, long CompactRevision, DateTimeOffset TakenAt, ContentSum Sum)
{
    private const int Version = 1;

    public byte[] Encode()
    {
        using MemoryStream bytes = new();
        using (Utf8JsonWriter json = new(bytes, new JsonWriterOptions { Indented = true }))
        {
            json.WriteStartObject();
            json.WriteNumber("version", Version);
            json.WriteString("cluster", ClusterId.ToString("x16", CultureInfo.InvariantCulture));
            json.WriteString("member", MemberId.ToString("x16", CultureInfo.InvariantCulture));
            json.WriteString("takenAt", TakenAt.UtcDateTime);
            json.WriteNumber("index", Index);
            json.WriteNumber("term", Term);
            json.WriteNumber("revision", Revision);
            json.WriteNumber("compactRevision", CompactRevision);
            json.WriteNumber("keys", Sum.Keys);
            json.WriteNumber("records", Sum.Records);
            json.WriteNumber("bytes", Sum.Bytes);
            json.WriteNumber("crc", Sum.Crc);
            json.WriteEndObject();
        }

        return bytes.ToArray();
    }

    /// <exception cref="InvalidDataException">It is not what <see cref="Encode"/> wrote.</exception>
    public static BackupInfo Decode(byte[] bytes, string path)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(bytes);
            JsonElement json = document.RootElement;
            ulong Hex(string name) => ulong.Parse(json.GetProperty(name).GetString()!, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
            long Number(string name) => json.GetProperty(name).GetInt64();
            return Number("version") != Version
                ? throw new InvalidDataException($"{path} is of version {Number("version")}; this program knows {Version}")
                : new BackupInfo(
                    Hex("cluster"), Hex("member"), json.GetProperty("index").GetUInt64(), json.GetProperty("term").GetUInt64(), Number("revision"),
                    Number("compactRevision"), json.GetProperty("takenAt").GetDateTimeOffset(),
                    new ContentSum(Number("keys"), Number("records"), Number("bytes"), json.GetProperty("crc").GetUInt32()));
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or FormatException or InvalidOperationException or OverflowException)
        {
            throw new InvalidDataException($"{path} is damaged: {e.Message}", e);
        }
    }
}

/// <summary>
/// One backup of a member: a folder with the whole content at one entry (<c>*.checkpoint</c>), the log of what was applied after it
/// (<c>log/</c>, in the format of a member's own log, with the time of day before each batch), and <c>backup.json</c>.
/// </summary>
internal sealed record BackupPlace(string Directory, ulong Index)
{
    public const byte TimeType = 5;
    private const string Extension = ".backup";

    /// <summary>Small, as they are filled with zeros ahead of time.</summary>
    public static WalOptions LogOptions { get; } = new() { SegmentBytes = 4 << 20 };

    public string LogDirectory => Path.Combine(Directory, "log");

    public string InfoPath => Path.Combine(Directory, "backup.json");

    public string CheckpointPath => Path.Combine(Directory, Storage.Checkpoints.CheckpointFile.NameOf(Index));

    public bool IsFinished => File.Exists(InfoPath);

    public static string MemberDirectory(string root, ulong cluster, ulong member) =>
        Path.Combine(root, string.Create(CultureInfo.InvariantCulture, $"{cluster:x16}-{member:x16}"));

    public static BackupPlace New(string memberDirectory, ulong index) => new(
        Path.Combine(memberDirectory, index.ToString("x16", CultureInfo.InvariantCulture) + Extension), index);

    /// <summary>In the order of their entries.</summary>
    public static IReadOnlyList<BackupPlace> Of(string memberDirectory) => !System.IO.Directory.Exists(memberDirectory) ? [] :
    [
        .. System.IO.Directory.EnumerateDirectories(memberDirectory, "*" + Extension)
            .Select(static d => ulong.TryParse(Path.GetFileNameWithoutExtension(d), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ulong index)
                ? new BackupPlace(d, index) : null)
            .OfType<BackupPlace>().OrderBy(static p => p.Index),
    ];

    /// <exception cref="InvalidDataException">The description is damaged.</exception>
    /// <exception cref="IOException">It is not there, or cannot be read.</exception>
    public BackupInfo ReadInfo() => BackupInfo.Decode(File.ReadAllBytes(InfoPath), InfoPath);

    public void WriteInfo(IDisk disk, BackupInfo info)
    {
        string temporary = InfoPath + ".tmp";
        using (IDiskFile file = disk.Open(temporary, DiskOpen.Create))
        {
            file.Write(0, info.Encode());
            file.Flush();
        }

        disk.Rename(temporary, InfoPath);
        disk.SyncDirectory(Directory);
    }

    /// <summary>The entries that follow were applied at this time, or a little before. Milliseconds since 1970.</summary>
    public static WalRecord TimeMark(long milliseconds)
    {
        byte[] payload = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(payload, milliseconds);
        return new WalRecord(TimeType, 0, payload);
    }

    public static long ToMilliseconds(WalRecord mark) => mark.Payload.Length == 8
        ? BinaryPrimitives.ReadInt64LittleEndian(mark.Payload.Span)
        : throw new InvalidDataException($"a mark of time has {mark.Payload.Length} bytes");

    /// <summary>As an entry of a member's own log.</summary>
    public static WalRecord Record(Raft.Entry entry) => LogRecords.Of(entry);
}
