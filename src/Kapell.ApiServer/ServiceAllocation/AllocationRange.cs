using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Numerics;
using System.Text.Json.Nodes;

namespace Kapell.ApiServer.ServiceAllocation;

/// <summary>
/// A range of addresses or ports whose members are given out one by one, and the bitmap of those in use as it lies in the store
/// (core/v1 RangeAllocation, the layout of upstream's pkg/registry/core/service/allocator: bit n of a big-endian number).
/// </summary>
internal sealed class AllocationRange
{
    /// <summary>A bitmap of at most 8 KiB, whatever the range (upstream: ipallocator's limit of 65536).</summary>
    private const int MembersMax = 65536;

    private readonly BigInteger _first;
    private readonly bool _isAddress;
    private readonly AddressFamily _family;

    private AllocationRange(string name, string text, BigInteger first, int size, bool isAddress, AddressFamily family)
    {
        Name = name;
        Text = text;
        _first = first;
        Size = size;
        _isAddress = isAddress;
        _family = family;
    }

    /// <summary>The record's name in the store: serviceips, secondaryserviceips, servicenodeports.</summary>
    public string Name { get; }

    /// <summary>As the flag gave it.</summary>
    public string Text { get; }

    public int Size { get; }

    public string Family => _family == AddressFamily.InterNetworkV6 ? "IPv6" : "IPv4";

    /// <exception cref="FormatException">Not a CIDR that leaves room for services.</exception>
    public static AllocationRange OfAddresses(string name, string cidr)
    {
        IPNetwork network = IPNetwork.Parse(cidr);
        int bits = network.BaseAddress.AddressFamily == AddressFamily.InterNetworkV6 ? 128 : 32;
        int hostBits = bits - network.PrefixLength;
        long members = hostBits >= 17 ? MembersMax : (1L << hostBits) - 1;
        if (bits == 32 && hostBits < 17)
        {
            // Neither the network's own address nor its broadcast address (upstream: ipallocator.NewInMemory).
            members--;
        }

        if (members < 1)
        {
            throw new FormatException($"the service cluster IP range {cidr} is too small");
        }

        BigInteger first = new BigInteger(network.BaseAddress.GetAddressBytes(), isUnsigned: true, isBigEndian: true) + 1;
        return new AllocationRange(name, cidr, first, (int)Math.Min(members, MembersMax), true, network.BaseAddress.AddressFamily);
    }

    /// <exception cref="FormatException">Not <c>low-high</c>.</exception>
    public static AllocationRange OfPorts(string name, string range)
    {
        string[] ends = range.Split('-');
        if (ends.Length != 2 || !ushort.TryParse(ends[0], CultureInfo.InvariantCulture, out ushort low)
            || !ushort.TryParse(ends[1], CultureInfo.InvariantCulture, out ushort high) || high < low)
        {
            throw new FormatException($"the node port range {range} is not of the form low-high");
        }

        return new AllocationRange(name, range, low, high - low + 1, false, AddressFamily.Unspecified);
    }

    /// <summary>The member's number, or -1 when it is not of this range.</summary>
    public int OffsetOf(string member)
    {
        BigInteger value;
        if (_isAddress)
        {
            if (!IPAddress.TryParse(member, out IPAddress? address) || address.AddressFamily != _family)
            {
                return -1;
            }

            value = new BigInteger(address.GetAddressBytes(), isUnsigned: true, isBigEndian: true);
        }
        else if (!BigInteger.TryParse(member, NumberStyles.None, CultureInfo.InvariantCulture, out value))
        {
            return -1;
        }

        BigInteger offset = value - _first;
        return offset >= 0 && offset < Size ? (int)offset : -1;
    }

    public string MemberAt(int offset)
    {
        BigInteger value = _first + offset;
        if (!_isAddress)
        {
            return value.ToString(CultureInfo.InvariantCulture);
        }

        byte[] bytes = new byte[_family == AddressFamily.InterNetworkV6 ? 16 : 4];
        byte[] number = value.ToByteArray(isUnsigned: true, isBigEndian: true);
        number.CopyTo(bytes, bytes.Length - number.Length);
        return new IPAddress(bytes).ToString();
    }

    /// <summary>Where automatic choice begins: the lower part is kept for chosen members (upstream: KEP-3070, KEP-3668).</summary>
    public int StaticBand
    {
        get
        {
            int min = _isAddress ? 16 : 16;
            int max = _isAddress ? 256 : 128;
            int step = _isAddress ? 16 : 32;
            return Size <= min ? 0 : Math.Min(Math.Max(Size / step, min), max);
        }
    }

    public JsonObject NewRecord() => new()
    {
        ["apiVersion"] = "v1", ["kind"] = "RangeAllocation", ["metadata"] = new JsonObject { ["name"] = Name }, ["range"] = Text, ["data"] = "",
    };

    public static byte[] BitsOf(JsonObject record)
    {
        byte[] bigEndian = record["data"]?.GetValue<string>() is { Length: > 0 } text ? Convert.FromBase64String(text) : [];
        Array.Reverse(bigEndian);
        return bigEndian;
    }

    public void Put(JsonObject record, byte[] littleEndian)
    {
        record["range"] = Text;
        byte[] bigEndian = [.. littleEndian.AsEnumerable().Reverse().SkipWhile(b => b == 0)];
        record["data"] = Convert.ToBase64String(bigEndian);
    }

    public static bool IsSet(byte[] bits, int offset) => offset / 8 < bits.Length && (bits[offset / 8] & (1 << (offset % 8))) != 0;

    public static byte[] With(byte[] bits, int offset, bool set)
    {
        byte[] changed = bits.Length > offset / 8 ? [.. bits] : [.. bits, .. new byte[(offset / 8) + 1 - bits.Length]];
        changed[offset / 8] = (byte)(set ? changed[offset / 8] | (1 << (offset % 8)) : changed[offset / 8] & ~(1 << (offset % 8)));
        return changed;
    }
}
