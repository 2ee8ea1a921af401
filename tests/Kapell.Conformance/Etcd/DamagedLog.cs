using System.Text;
using Kapell.Storage;
using Kapell.Storage.Wal;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>Changes what a member that does not run has written, checksums included: damage that no checksum can see.</summary>
internal static class DamagedLog
{
    /// <summary>In every record of the log the one text gives way to the other, of the same length.</summary>
    public static void Replace(string dataDirectory, string text, string by)
    {
        Assert.Equal(text.Length, by.Length);
        string directory = Path.Combine(dataDirectory, "member", "wal");
        List<WalRecord> records = [];
        WriteAheadLog.Open(new FileDisk(), directory, new WalOptions { SegmentBytes = 32 << 20 }, records.Add).Dispose();
        Directory.Delete(directory, recursive: true);
        int changed = 0;
        for (int i = 0; i < records.Count; i++)
        {
            byte[] payload = records[i].Payload.ToArray();
            int at = payload.AsSpan().IndexOf(Encoding.UTF8.GetBytes(text));
            if (at >= 0)
            {
                Encoding.UTF8.GetBytes(by).CopyTo(payload, at);
                records[i] = records[i] with { Payload = payload };
                changed++;
            }
        }

        Assert.True(changed > 0, $"{text} is nowhere in the log");
        using WriteAheadLog log = WriteAheadLog.Open(new FileDisk(), directory, new WalOptions { SegmentBytes = 32 << 20 }, static _ => Assert.Fail("the log is not empty"));
        log.Append(records);
        log.Sync();
    }
}
