using System.Globalization;
using System.Text;
using Kapell.Etcd.Client;
using Microsoft.Extensions.Logging;

namespace Kapell.ApiServer.Storage;

/// <summary>
/// Lets the store forget revisions older than one to two intervals. Several servers agree through the version of one key, so that
/// one of them does it each time (upstream: etcd3/compact.go).
/// </summary>
internal sealed class Compactor(IEtcdClient etcd, TimeSpan interval, TimeProvider time, ILogger log)
{
    private static readonly byte[] Key = Encoding.ASCII.GetBytes("compact_rev_key");

    public async Task RunAsync(CancellationToken stopping)
    {
        long version = 0;
        long revision = 0;
        while (true)
        {
            await Task.Delay(interval, time, stopping);
            try
            {
                (version, revision) = await CompactAsync(version, revision, stopping);
            }
            catch (EtcdException e)
            {
                LogFailed(log, e.Message, null);
            }
        }
    }

    /// <summary>Who finds the key as it left it compacts what was current then; who does not learns the new state.</summary>
    internal async Task<(long Version, long Revision)> CompactAsync(long version, long revision, CancellationToken cancel)
    {
        byte[] value = Encoding.ASCII.GetBytes(revision.ToString(CultureInfo.InvariantCulture));
        EtcdTxnResult result = await etcd.TxnAsync(
            new EtcdTxn([new EtcdCompare(EtcdCompareTarget.Version, Key, version)], [new EtcdPut(Key, value)], [new EtcdGet(new EtcdRange(Key))]), cancel);
        if (!result.Succeeded)
        {
            return (result.Reads[0].Entries.Count == 0 ? 0 : result.Reads[0].Entries[0].Version, result.Revision);
        }

        if (revision > 0)
        {
            await etcd.CompactAsync(revision, cancel);
        }

        return (version + 1, result.Revision);
    }

    private static readonly Action<ILogger, string, Exception?> LogFailed =
        LoggerMessage.Define<string>(LogLevel.Warning, new EventId(4101, "CompactionFailed"), "compaction of the store failed: {Why}");
}
