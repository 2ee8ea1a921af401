using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace Kapell.Controllers.Nodes;

/// <summary>A range cut into blocks of one size (pkg/controller/nodeipam/ipam/cidrset). Pure.</summary>
internal sealed class CidrBlocks
{
    private readonly UInt128 _base;
    private readonly int _bits;
    private readonly int _blockPrefix;

    private CidrBlocks(UInt128 start, int bits, int prefix, int blockPrefix)
    {
        _base = start;
        _bits = bits;
        _blockPrefix = blockPrefix;
        Count = UInt128.One << (blockPrefix - prefix);
    }

    /// <summary>How many blocks there are.</summary>
    public UInt128 Count { get; }

    /// <summary>Null when the text is no range, or blocks of that size do not fit into it.</summary>
    public static CidrBlocks? Parse(string cidr, int blockPrefix)
    {
        if (!IPNetwork.TryParse(cidr, out IPNetwork network))
        {
            return null;
        }

        int bits = network.BaseAddress.AddressFamily == AddressFamily.InterNetworkV6 ? 128 : 32;
        return blockPrefix < network.PrefixLength || blockPrefix > bits || blockPrefix - network.PrefixLength > 16
            ? null : new CidrBlocks(Number(network.BaseAddress), bits, network.PrefixLength, blockPrefix);
    }

    /// <summary>The lowest block that is not taken, or null.</summary>
    public string? FirstFree(IReadOnlySet<string> taken)
    {
        for (UInt128 i = 0; i < Count; i++)
        {
            string block = Text(_base + (i << (_bits - _blockPrefix)));
            if (!taken.Contains(block))
            {
                return block;
            }
        }

        return null;
    }

    private string Text(UInt128 address)
    {
        Span<byte> bytes = stackalloc byte[16];
        BinaryPrimitives.WriteUInt128BigEndian(bytes, address);
        return new IPAddress(bytes[^(_bits / 8)..]) + "/" + _blockPrefix.ToString(CultureInfo.InvariantCulture);
    }

    private static UInt128 Number(IPAddress address)
    {
        UInt128 n = 0;
        foreach (byte b in address.GetAddressBytes())
        {
            n = (n << 8) | b;
        }

        return n;
    }
}
