using System.Globalization;
using System.IO.Compression;
using System.Text;

namespace Kapell.Etcd.Server.Logging;

/// <summary>
/// A file that lines are added to. With a rotation it is put aside under its name and the time when it is full, and old ones go:
/// <c>etcd.log</c> becomes <c>etcd-2026-01-31T12-00-00.000.log</c>, with <c>.gz</c> when compressed. Not for several threads.
/// </summary>
internal sealed class RotatingFile : TextWriter
{
    private const string Stamp = "yyyy-MM-dd'T'HH-mm-ss.fff";
    private readonly string _path;
    private readonly LogRotation? _rotation;
    private readonly TimeProvider _time;
    private FileStream _file;
    private Task _settling = Task.CompletedTask;

    /// <exception cref="IOException">The file cannot be opened.</exception>
    public RotatingFile(string path, LogRotation? rotation, TimeProvider time)
    {
        _path = Path.GetFullPath(path);
        _rotation = rotation;
        _time = time;
        _file = Open();
    }

    public override Encoding Encoding => Encoding.UTF8;

    public override void Write(char value) => Write(value.ToString());

    public override void Write(string? value)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(value ?? "");
        if (!_file.CanWrite)
        {
            // The last change of files failed half way.
            _file = Open();
        }

        if (_rotation is { } rotation && _file.Length > 0 && _file.Length + bytes.Length > rotation.BytesMax)
        {
            PutAside(rotation);
        }

        _file.Write(bytes);
    }

    public override void Flush() => _file.Flush();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _file.Dispose();
            _settling.GetAwaiter().GetResult();
        }

        base.Dispose(disposing);
    }

    private FileStream Open() => new(_path, FileMode.Append, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete);

    private string Prefix => Path.GetFileNameWithoutExtension(_path) + "-";

    private void PutAside(LogRotation rotation)
    {
        DateTimeOffset now = rotation.LocalTime ? _time.GetLocalNow() : _time.GetUtcNow();
        string aside = Path.Combine(
            Path.GetDirectoryName(_path)!, Prefix + now.ToString(Stamp, CultureInfo.InvariantCulture) + Path.GetExtension(_path));
        _file.Dispose();
        File.Move(_path, aside, overwrite: true);
        _file = Open();

        // Beside what goes on: a hundred megabytes take a second, and whoever logs would wait for it.
        Task before = _settling;
        _settling = Task.Run(async () =>
        {
            await before;
            Settle(rotation, aside, now);
        });
    }

    private void Settle(LogRotation rotation, string aside, DateTimeOffset now)
    {
        try
        {
            if (rotation.Compress)
            {
                string part = aside + ".gz.part";
                using (FileStream from = File.OpenRead(aside))
                using (GZipStream to = new(File.Create(part), CompressionLevel.Fastest))
                {
                    from.CopyTo(to);
                }

                File.Move(part, aside + ".gz", overwrite: true);
                File.Delete(aside);
            }

            RemoveOld(rotation, now);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The file stays as it was put aside; the next one that is looks for old ones again.
        }
    }

    private void RemoveOld(LogRotation rotation, DateTimeOffset now)
    {
        List<(string Path, DateTime Time)> old = [];
        foreach (string path in Directory.EnumerateFiles(Path.GetDirectoryName(_path)!, Prefix + "*"))
        {
            string rest = Path.GetFileName(path)[Prefix.Length..];
            if (rest.Length >= 23 && DateTime.TryParseExact(rest[..23], Stamp, CultureInfo.InvariantCulture, DateTimeStyles.None, out DateTime time))
            {
                old.Add((path, time));
            }
        }

        old.Sort(static (a, b) => b.Time.CompareTo(a.Time));
        for (int i = 0; i < old.Count; i++)
        {
            bool tooMany = rotation.BackupsMax > 0 && i >= rotation.BackupsMax;
            if (tooMany || (rotation.AgeMax > TimeSpan.Zero && old[i].Time < now.DateTime - rotation.AgeMax))
            {
                File.Delete(old[i].Path);
            }
        }
    }
}
