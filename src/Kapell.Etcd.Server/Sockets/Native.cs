using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Kapell.Etcd.Server.Sockets;

/// <summary>Linux's calls for many sockets on one thread (epoll(7)). Those on sockets never block and never raise a signal.</summary>
internal static partial class Native
{
    public const uint In = 0x001; // EPOLLIN
    public const uint Out = 0x004; // EPOLLOUT
    public const uint Error = 0x008; // EPOLLERR
    public const uint HangUp = 0x010; // EPOLLHUP
    public const uint ReadHangUp = 0x2000; // EPOLLRDHUP
    public const uint EdgeTriggered = 1u << 31; // EPOLLET

    public const int Interrupted = 4; // EINTR
    public const int Again = 11; // EAGAIN

    private const int CloseOnExec = 0x80000; // EPOLL_CLOEXEC, EFD_CLOEXEC
    private const int NonBlocking = 0x800; // EFD_NONBLOCK
    private const int ControlAdd = 1;
    private const int ControlRemove = 2;
    private const int Peeking = 0x02; // MSG_PEEK
    private const int DontWait = 0x40; // MSG_DONTWAIT
    private const int NoSignal = 0x4000; // MSG_NOSIGNAL
    private const int BothWays = 2; // SHUT_RDWR
    private const int SchedulerOther = 0; // SCHED_OTHER
    private const int SchedulerBatch = 3; // SCHED_BATCH

    // struct epoll_event is packed on x86-64 alone.
    private static readonly bool IsPacked = RuntimeInformation.ProcessArchitecture == Architecture.X64;

    public static int EventBytes => IsPacked ? 12 : 16;

    private static int DataAt => IsPacked ? 4 : 8;

    public static SafeFileHandle CreatePoll() => new(Demand(EpollCreate(CloseOnExec), "epoll_create1"), ownsHandle: true);

    public static SafeFileHandle CreateEvent() => new(Demand(EventFd(0, CloseOnExec | NonBlocking), "eventfd"), ownsHandle: true);

    /// <exception cref="IOException">The kernel refused it.</exception>
    public static void Add(SafeHandle poll, SafeHandle watched, uint events, int key)
    {
        Span<byte> entry = stackalloc byte[16];
        MemoryMarshal.Write(entry, events);
        MemoryMarshal.Write(entry[DataAt..], (long)key);
        Demand(EpollControl(poll, ControlAdd, Descriptor(watched), ref MemoryMarshal.GetReference(entry)), "epoll_ctl");
    }

    /// <param name="watched">Still open.</param>
    public static void Remove(SafeHandle poll, SafeHandle watched)
    {
        Span<byte> entry = stackalloc byte[16];
        Demand(EpollControl(poll, ControlRemove, Descriptor(watched), ref MemoryMarshal.GetReference(entry)), "epoll_ctl");
    }

    /// <summary>How many events there are, once there are any; zero when it was interrupted.</summary>
    public static int Wait(SafeHandle poll, Span<byte> events)
    {
        int count = EpollWait(poll, ref MemoryMarshal.GetReference(events), events.Length / EventBytes, -1);
        return count < 0 && Marshal.GetLastPInvokeError() == Interrupted ? 0 : Demand(count, "epoll_wait");
    }

    public static (uint Events, int Key) Read(ReadOnlySpan<byte> events, int number)
    {
        ReadOnlySpan<byte> entry = events[(number * EventBytes)..];
        return (MemoryMarshal.Read<uint>(entry), (int)MemoryMarshal.Read<long>(entry[DataAt..]));
    }

    public static void Signal(SafeHandle @event)
    {
        ulong one = 1;
        _ = WriteEvent(@event, ref one, sizeof(ulong)); // It can only say that it is signalled already.
    }

    public static void Reset(SafeHandle @event)
    {
        ulong count = 0;
        _ = ReadEvent(@event, ref count, sizeof(ulong));
    }

    /// <summary>How many bytes came; zero when the other side has ended, negative for an error (<see cref="Marshal.GetLastPInvokeError"/>).</summary>
    public static int Receive(SafeHandle socket, Span<byte> into, bool peeks = false) =>
        (int)Receive(socket, ref MemoryMarshal.GetReference(into), into.Length, DontWait | (peeks ? Peeking : 0));

    /// <summary>How many bytes were taken; negative for an error.</summary>
    public static int Send(SafeHandle socket, ReadOnlySpan<byte> bytes) =>
        (int)Send(socket, ref MemoryMarshal.GetReference(bytes), bytes.Length, DontWait | NoSignal);

    public static void Shutdown(SafeHandle socket) => _ = Shutdown(socket, BothWays); // One that is not connected any more is shut already.

    /// <summary>
    /// Whether the calling thread, when it is woken, lets others have their turn if no processor is free (sched(7), SCHED_BATCH), or drives
    /// one of them from its own, as threads do by default.
    /// </summary>
    public static void BePatient(bool patient)
    {
        int priority = 0;
        _ = SetScheduler(0, patient ? SchedulerBatch : SchedulerOther, ref priority); // Who may not is as fast, with more changes between threads.
    }

    private static int Descriptor(SafeHandle handle)
    {
        ObjectDisposedException.ThrowIf(handle.IsClosed, handle);
        return (int)handle.DangerousGetHandle();
    }

    private static int Demand(int result, string call) =>
        result >= 0 ? result : throw new IOException($"{call}: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}");

    [LibraryImport("libc", EntryPoint = "epoll_create1", SetLastError = true)]
    private static partial int EpollCreate(int flags);

    [LibraryImport("libc", EntryPoint = "epoll_ctl", SetLastError = true)]
    private static partial int EpollControl(SafeHandle poll, int operation, int descriptor, ref byte entry);

    [LibraryImport("libc", EntryPoint = "epoll_wait", SetLastError = true)]
    private static partial int EpollWait(SafeHandle poll, ref byte events, int eventsMax, int milliseconds);

    [LibraryImport("libc", EntryPoint = "eventfd", SetLastError = true)]
    private static partial int EventFd(uint count, int flags);

    [LibraryImport("libc", EntryPoint = "write")]
    private static partial nint WriteEvent(SafeHandle @event, ref ulong count, nint bytes);

    [LibraryImport("libc", EntryPoint = "read")]
    private static partial nint ReadEvent(SafeHandle @event, ref ulong count, nint bytes);

    [LibraryImport("libc", EntryPoint = "recv", SetLastError = true)]
    private static partial nint Receive(SafeHandle socket, ref byte into, nint bytes, int flags);

    [LibraryImport("libc", EntryPoint = "send", SetLastError = true)]
    private static partial nint Send(SafeHandle socket, ref readonly byte bytes, nint count, int flags);

    [LibraryImport("libc", EntryPoint = "shutdown")]
    private static partial int Shutdown(SafeHandle socket, int how);

    [LibraryImport("libc", EntryPoint = "sched_setscheduler")]
    private static partial int SetScheduler(int thread, int policy, ref int priority);
}
