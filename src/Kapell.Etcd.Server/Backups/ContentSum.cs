using Kapell.Mvcc;

namespace Kapell.Etcd.Server.Backups;

/// <summary>A store at one revision in a few numbers: keys, changes, their bytes, a checksum in the order of keys.</summary>
internal readonly record struct ContentSum(long Keys, long Records, long Bytes, uint Crc)
{
    private const int KeysPerPiece = 1000;
    private const long BytesPerPiece = 512 * 1024;

    /// <param name="guarded">Runs a piece of work while nobody changes the store; a piece takes about a millisecond.</param>
    /// <param name="compactRevision">Not below that of the store, or of a picture of it that is held.</param>
    public static ContentSum Of(MvccStore store, long revision, long compactRevision, Action<Action> guarded)
    {
        ContentSum sum = default;
        byte[]? start = [];
        while (start is not null)
        {
            guarded(() =>
            {
                StretchQuery query = new()
                {
                    Start = start, Revision = revision, CompactRevision = compactRevision, KeysMax = KeysPerPiece, BytesMax = BytesPerPiece,
                };
                StretchSum piece = Stretch.Sum(store, query, sum.Crc, out start);
                sum = new ContentSum(sum.Keys + piece.Keys, sum.Records + piece.Records, sum.Bytes + piece.Bytes, piece.Crc);
            });
        }

        return sum;
    }
}
