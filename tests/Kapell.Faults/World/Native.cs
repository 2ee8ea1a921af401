using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Kapell.Faults.World;

/// <summary>The few calls of the system that the runtime does not offer. Numbers are those of Linux on x86-64 and arm64.</summary>
internal static partial class Native
{
    public const int SignalKill = 9;
    public const int SignalTerm = 15;
    public const int SignalContinue = 18;
    public const int SignalStop = 19;
    private const int OpenReadOnly = 0;
    private const int OpenReadWrite = 2;
    private const int OpenCloseOnExec = 0x80000;

    // ext4: EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH: nothing that is not on the disk by now will be.
    private const ulong Ext4Shutdown = 0x8004587d;
    private const uint WithoutFlush = 2;

    private const ulong TunSetInterface = 0x400454ca;
    private const ulong TunSetOffload = 0x400454d0;
    private const short TapWithHeader = 0x0002 | 0x1000 | 0x4000; // IFF_TAP, IFF_NO_PI, IFF_VNET_HDR
    private const int ChecksumAndSegments = 0x01 | 0x02 | 0x04; // TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6
    private const int FamilyPacket = 17;
    private const int SocketRaw = 3;
    private const int LevelPacket = 263;
    private const int PacketVnetHeader = 15;
    private const int PacketIgnoreOutgoing = 23;
    private const ushort AllProtocols = 0x0003;
    private const short PollIn = 1;

    public static void Signal(int process, int signal) => Demand(Kill(process, signal), "kill");

    /// <summary>The file system stops dead, as when the power goes: what was not flushed is gone.</summary>
    public static void PowerOff(string mountPoint)
    {
        int file = Demand(Open(mountPoint, OpenReadOnly | OpenCloseOnExec), "open " + mountPoint);
        using SafeFileHandle handle = new(file, ownsHandle: true);
        uint flags = WithoutFlush;
        Demand(Ioctl(file, Ext4Shutdown, ref flags), "EXT4_IOC_SHUTDOWN");
    }

    /// <summary>A new TAP interface; frames carry the kernel's header of 10 bytes about checksums and segments.</summary>
    public static SafeFileHandle OpenTap(string name)
    {
        int file = Demand(Open("/dev/net/tun", OpenReadWrite | OpenCloseOnExec), "open /dev/net/tun");
        SafeFileHandle handle = new(file, ownsHandle: true);
        InterfaceRequest request = default;
        request.Set(name, TapWithHeader);
        Demand(Ioctl(file, TunSetInterface, ref request), "TUNSETIFF");
        Demand(IoctlValue(file, TunSetOffload, ChecksumAndSegments), "TUNSETOFFLOAD");
        return handle;
    }

    /// <summary>All frames that come in at an interface, with the same header.</summary>
    public static SafeFileHandle OpenPackets(int interfaceIndex)
    {
        ushort protocol = (ushort)((AllProtocols << 8) | (AllProtocols >> 8));
        int file = Demand(OpenSocket(FamilyPacket, SocketRaw, protocol), "socket");
        SafeFileHandle handle = new(file, ownsHandle: true);
        int on = 1;
        Demand(SetOption(file, LevelPacket, PacketVnetHeader, ref on, sizeof(int)), "PACKET_VNET_HDR");
        Demand(SetOption(file, LevelPacket, PacketIgnoreOutgoing, ref on, sizeof(int)), "PACKET_IGNORE_OUTGOING");
        LinkAddress address = new() { Family = FamilyPacket, Protocol = protocol, Interface = interfaceIndex };
        Demand(Bind(file, ref address, Marshal.SizeOf<LinkAddress>()), "bind");
        return handle;
    }

    public static int InterfaceIndex(string name) => Demand((int)NameToIndex(name) - 1, name) + 1;

    /// <summary>Waits a tenth of a second at most for something to read.</summary>
    public static bool CanRead(SafeFileHandle handle)
    {
        PollRequest request = new() { File = (int)handle.DangerousGetHandle(), Events = PollIn };
        return Poll(ref request, 1, 100) > 0;
    }

    public static int ReadFrame(SafeFileHandle handle, byte[] buffer) => (int)Read((int)handle.DangerousGetHandle(), ref buffer[0], buffer.Length);

    public static void WriteFrame(SafeFileHandle handle, byte[] frame) =>
        _ = Write((int)handle.DangerousGetHandle(), ref frame[0], frame.Length); // A frame that does not get through is a lost frame.

    private static int Demand(int result, string what) => result >= 0 ? result : throw new Win32Exception(Marshal.GetLastPInvokeError(), what);

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int Kill(int process, int signal);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    private static partial int Ioctl(int file, ulong request, ref uint argument);

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    private static partial int Ioctl(int file, ulong request, ref InterfaceRequest argument);

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    private static partial int IoctlValue(int file, ulong request, nint argument);

    [LibraryImport("libc", EntryPoint = "socket", SetLastError = true)]
    private static partial int OpenSocket(int family, int kind, int protocol);

    [LibraryImport("libc", EntryPoint = "setsockopt", SetLastError = true)]
    private static partial int SetOption(int socket, int level, int name, ref int value, int length);

    [LibraryImport("libc", EntryPoint = "bind", SetLastError = true)]
    private static partial int Bind(int socket, ref LinkAddress address, int length);

    [LibraryImport("libc", EntryPoint = "if_nametoindex", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial uint NameToIndex(string name);

    [LibraryImport("libc", EntryPoint = "poll", SetLastError = true)]
    private static partial int Poll(ref PollRequest request, nuint count, int milliseconds);

    [LibraryImport("libc", EntryPoint = "read", SetLastError = true)]
    private static partial nint Read(int file, ref byte buffer, nint length);

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    private static partial nint Write(int file, ref byte buffer, nint length);

    /// <summary>struct ifreq: a name of 16 bytes, then flags; 40 bytes in all.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private unsafe struct InterfaceRequest
    {
        private fixed byte _name[16];
        private short _flags;
        private fixed byte _rest[22];

        public void Set(string name, short flags)
        {
            for (int i = 0; i < name.Length; i++)
            {
                _name[i] = (byte)name[i];
            }

            _flags = flags;
        }
    }

    /// <summary>struct sockaddr_ll.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct LinkAddress
    {
        public ushort Family;
        public ushort Protocol;
        public int Interface;
        private readonly ushort _hardware;
        private readonly byte _packet;
        private readonly byte _length;
        private readonly ulong _address;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct PollRequest
    {
        public int File;
        public short Events;
        private readonly short _returned;
    }
}
