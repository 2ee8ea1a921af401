using System.Net;

namespace Kapell.Cli.Up;

/// <summary>Arithmetic on IPv4 ranges, for the addresses that <c>up</c> must know before the cluster runs.</summary>
internal static class Cidr
{
    /// <summary>The address at an offset from the range's first: 1 is the service <c>kubernetes</c>.</summary>
    public static string Address(string cidr, uint offset)
    {
        IPNetwork network = Parse(cidr);
        byte[] bytes = network.BaseAddress.GetAddressBytes();
        uint value = ((uint)bytes[0] << 24 | (uint)bytes[1] << 16 | (uint)bytes[2] << 8 | bytes[3]) + offset;
        return new IPAddress([(byte)(value >> 24), (byte)(value >> 16), (byte)(value >> 8), (byte)value]).ToString();
    }

    /// <summary>The first /24 of the cluster's range: what the controller manager gives to the first node.</summary>
    public static string FirstNodeRange(string cidr) => Address(cidr, 0) + "/" + Math.Max(24, Parse(cidr).PrefixLength);

    private static IPNetwork Parse(string cidr) =>
        IPNetwork.TryParse(cidr, out IPNetwork network) && network.BaseAddress.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork
            ? network
            : throw new UpException($"\"{cidr}\" is no IPv4 range", "write it like 10.244.0.0/16");
}
