using Kapell.Base;

namespace Kapell.Storage;

/// <summary>What a crash does to writes that were never flushed.</summary>
public enum CrashMode
{
    /// <summary>All of them are gone.</summary>
    LoseUnsynced,

    /// <summary>They happened to reach the disk.</summary>
    KeepUnsynced,

    /// <summary>Each sector of each write is kept or lost by chance, and so are the names of each directory.</summary>
    Torn,

    /// <summary>As <see cref="Torn"/>, and now and then a sector that is kept has one bit wrong.</summary>
    Garbled,
}

/// <summary>
/// A disk in memory for tests and simulation: it forgets on <see cref="Crash"/> what was not flushed, fails on demand, and counts.
/// Not safe for concurrent use. The same calls and the same seed give the same disk.
/// </summary>
public sealed class MemoryDisk(Prng prng) : IDisk
{
    private const int SectorBytes = 512;
    private readonly SortedDictionary<string, Node> _names = new(StringComparer.Ordinal);
    private SortedDictionary<string, Node> _durableNames = new(StringComparer.Ordinal);
    private int _era;

    /// <summary>The most that all files together may hold.</summary>
    public long CapacityBytes { get; set; } = long.MaxValue;

    /// <summary>While true, flushes fail as a broken device's do.</summary>
    public bool FailFlushes { get; set; }

    /// <summary>While true, writes fail.</summary>
    public bool FailWrites { get; set; }

    public int Flushes { get; private set; }

    public IEnumerable<string> Paths => _names.Keys;

    public void CreateDirectory(string path)
    {
        // Directories are part of the names of files here.
    }

    public IReadOnlyList<string> List(string directory) =>
        [.. _names.Keys.Where(p => DirectoryOf(p) == directory).Select(p => Path.GetFileName(p))];

    public IDiskFile Open(string path, DiskOpen mode)
    {
        if (mode == DiskOpen.Create)
        {
            _names[path] = new Node();
        }

        return _names.TryGetValue(path, out Node? node)
            ? new MemoryFile(this, node, path, _era)
            : throw new FileNotFoundException($"Could not find file '{path}'.", path);
    }

    public void Rename(string from, string to)
    {
        Node node = _names[from];
        _names.Remove(from);
        _names[to] = node;
    }

    public void Delete(string path) => _names.Remove(path);

    public void SyncDirectory(string path)
    {
        FailIf(FailFlushes, path, "flush");
        MakeNamesDurable(path);
    }

    public long FreeBytes(string directory) => CapacityBytes - UsedBytes();

    /// <summary>Power off and on: open files are void, and what was not flushed meets the given fate.</summary>
    public void Crash(CrashMode mode)
    {
        _era++;
        foreach (string directory in _names.Keys.Concat(_durableNames.Keys).Select(DirectoryOf).Distinct().ToList())
        {
            if (mode == CrashMode.KeepUnsynced || (mode is CrashMode.Torn or CrashMode.Garbled && prng.Chance(0.5)))
            {
                MakeNamesDurable(directory);
            }
        }

        _names.Clear();
        foreach ((string path, Node node) in _durableNames)
        {
            _names[path] = node;
            node.Settle(mode, prng);
        }

        _durableNames = new SortedDictionary<string, Node>(_names, StringComparer.Ordinal);
    }

    /// <summary>The bytes of a file as a program would read them.</summary>
    public byte[] Content(string path) => _names[path].Current.ToArray();

    /// <summary>Damages a file behind the back of its owner, or puts one there; certain at once.</summary>
    public void Overwrite(string path, byte[] content)
    {
        Node node = new();
        node.SetLength(content.Length);
        content.CopyTo(node.Current.AsSpan());
        node.MakeDurable();
        _names[path] = node;
        _durableNames[path] = node;
    }

    private static string DirectoryOf(string path) => Path.GetDirectoryName(path) ?? "";

    private static void FailIf(bool failing, string path, string operation)
    {
        if (failing)
        {
            throw new DiskFailedException(path, operation, null);
        }
    }

    private long UsedBytes() => _names.Values.Sum(n => (long)n.Current.Length);

    private void MakeNamesDurable(string directory)
    {
        foreach (string gone in _durableNames.Keys.Where(p => DirectoryOf(p) == directory && !_names.ContainsKey(p)).ToList())
        {
            _durableNames.Remove(gone);
        }

        foreach ((string path, Node node) in _names.Where(n => DirectoryOf(n.Key) == directory))
        {
            _durableNames[path] = node;
        }
    }

    /// <summary>The content of a file: as it reads now, as it was at the last flush, and what was written between.</summary>
    private sealed class Node
    {
        private readonly List<(int Offset, int Length)> _unsynced = [];
        private byte[] _durable = [];

        public byte[] Current { get; private set; } = [];

        public void Write(long offset, ReadOnlySpan<byte> bytes)
        {
            if (Current.Length < offset + bytes.Length)
            {
                SetLength(offset + bytes.Length);
            }

            bytes.CopyTo(Current.AsSpan(checked((int)offset)));
            _unsynced.Add(((int)offset, bytes.Length));
        }

        public void SetLength(long length)
        {
            byte[] resized = new byte[length];
            Current.AsSpan(0, (int)Math.Min(length, Current.Length)).CopyTo(resized);
            Current = resized;
        }

        public void MakeDurable()
        {
            if (_durable.Length != Current.Length)
            {
                _durable = Current.ToArray();
            }

            foreach ((int offset, int length) in _unsynced)
            {
                int end = Math.Min(offset + length, Current.Length);
                if (end > offset)
                {
                    Current.AsSpan(offset, end - offset).CopyTo(_durable.AsSpan(offset));
                }
            }

            _unsynced.Clear();
        }

        /// <summary>The same, of a range that was made so before.</summary>
        public void MakeDurable(int offset, int length)
        {
            Check.That(offset + length <= _durable.Length && _durable.Length == Current.Length);
            Current.AsSpan(offset, length).CopyTo(_durable.AsSpan(offset));
            List<(int Offset, int Length)> left = [];
            foreach ((int start, int count) in _unsynced)
            {
                int end = start + count;
                if (start < offset)
                {
                    left.Add((start, Math.Min(end, offset) - start));
                }

                if (end > offset + length)
                {
                    int from = Math.Max(start, offset + length);
                    left.Add((from, end - from));
                }
            }

            _unsynced.Clear();
            _unsynced.AddRange(left);
        }

        public void Settle(CrashMode mode, Prng prng)
        {
            if (mode == CrashMode.KeepUnsynced)
            {
                MakeDurable();
            }

            byte[] settled = _durable.ToArray();
            if (mode is CrashMode.Torn or CrashMode.Garbled && _unsynced.Count > 0)
            {
                // The length of the file is metadata of its own: it may have grown although the data did not arrive.
                Array.Resize(ref settled, Math.Max(settled.Length, Current.Length));
                KeepSomeSectors(settled, prng, garbledChance: mode == CrashMode.Garbled ? 0.1 : 0);
            }

            Current = settled;
            _durable = settled.ToArray();
            _unsynced.Clear();
        }

        private void KeepSomeSectors(byte[] settled, Prng prng, double garbledChance)
        {
            foreach ((int offset, int length) in _unsynced)
            {
                int end = Math.Min(offset + length, Current.Length);
                for (int start = offset; start < end;)
                {
                    int next = Math.Min(end, (start / SectorBytes * SectorBytes) + SectorBytes);
                    if (prng.Chance(0.5))
                    {
                        Current.AsSpan(start, next - start).CopyTo(settled.AsSpan(start));
                        if (garbledChance > 0 && prng.Chance(garbledChance))
                        {
                            settled[prng.NextInt(start, next)] ^= (byte)(1 << prng.NextInt(0, 8));
                        }
                    }

                    start = next;
                }
            }
        }
    }

    private sealed class MemoryFile(MemoryDisk disk, Node node, string path, int era) : IDiskFile
    {
        public long Length => node.Current.Length;

        public int Read(long offset, Span<byte> buffer)
        {
            int count = (int)Math.Clamp(node.Current.Length - offset, 0, buffer.Length);
            node.Current.AsSpan((int)Math.Min(offset, node.Current.Length), count).CopyTo(buffer);
            return count;
        }

        public void Write(long offset, ReadOnlySpan<byte> bytes)
        {
            Check.That(era == disk._era);
            FailIf(disk.FailWrites, path, "write");
            NeedRoom(offset + bytes.Length, "write");
            node.Write(offset, bytes);
        }

        public void SetLength(long length)
        {
            Check.That(era == disk._era);

            // A real one takes the room when the bytes are written: whoever lengthens a file here does so because he will.
            NeedRoom(length, "resize");
            node.SetLength(length);
        }

        /// <summary>Nothing is certain by it.</summary>
        public void WriteBack(long offset, long length) => Check.That(era == disk._era);

        public void Flush()
        {
            Check.That(era == disk._era);
            FailIf(disk.FailFlushes, path, "flush");
            disk.Flushes++;
            node.MakeDurable();
        }

        public void FlushContent(long offset, long length)
        {
            Check.That(era == disk._era);
            FailIf(disk.FailFlushes, path, "flush");
            disk.Flushes++;
            node.MakeDurable(checked((int)offset), checked((int)length));
        }

        public void Dispose()
        {
        }

        private void NeedRoom(long length, string operation)
        {
            long growth = length - node.Current.Length;
            if (growth > 0 && disk.UsedBytes() + growth > disk.CapacityBytes)
            {
                throw new DiskFullException(path, operation);
            }
        }
    }
}
