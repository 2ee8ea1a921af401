using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Kapell.Etcd.Server.Replication;

/// <summary>
/// The numbers of members and cluster as etcd derives them, so that the same settings give the same numbers: the first eight bytes of
/// SHA-1 of the sorted peer addresses and the token, and of the sorted member numbers. etcd: membership/member.go, cluster.go genID
/// </summary>
public static class ClusterIdentity
{
    public static ulong MemberId(IEnumerable<string> peerUrls, string clusterToken) =>
        First(Encoding.UTF8.GetBytes(string.Concat(peerUrls.Order(StringComparer.Ordinal)) + clusterToken));

    public static ulong ClusterId(IEnumerable<ulong> memberIds)
    {
        ulong[] sorted = [.. memberIds.Order()];
        byte[] bytes = new byte[sorted.Length * 8];
        for (int i = 0; i < sorted.Length; i++)
        {
            BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(i * 8), sorted[i]);
        }

        return First(bytes);
    }

#pragma warning disable CA5350 // Not for secrecy: the numbers must be upstream's.
    private static ulong First(byte[] bytes) => BinaryPrimitives.ReadUInt64BigEndian(SHA1.HashData(bytes));
#pragma warning restore CA5350
}
