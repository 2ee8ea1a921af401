using Kapell.Etcd.Server.Peers;

namespace Kapell.Etcd.Server.Takeover;

/// <summary>
/// A file of etcd's write-ahead log by its name: its number and the index of the first entry that it may begin with, in hexadecimal.
/// etcd: storage/wal/util.go walName
/// </summary>
internal sealed record EtcdSegment(ulong Number, ulong FirstIndex, string Path)
{
    private const string Extension = ".wal";

    public static EtcdSegment? Parse(string directory, string name)
    {
        bool shaped = name.Length == 16 + 1 + 16 + Extension.Length && name[16] == '-' && name.EndsWith(Extension, StringComparison.Ordinal);
        return shaped && PeerProtocol.TryHex(name[..16], out ulong number) && PeerProtocol.TryHex(name.Substring(17, 16), out ulong first)
            ? new EtcdSegment(number, first, System.IO.Path.Combine(directory, name))
            : null;
    }
}
