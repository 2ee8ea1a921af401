using System.Buffers.Binary;

namespace Kapell.Cli.Images;

/// <summary>
/// The program of the pause image, as a whole static ELF file for x86-64 with no library and no compiler needed: blocks all
/// signals, then waits for them one at a time; SIGCHLD reaps every child (it is process 1 of a pod with a shared process
/// namespace), SIGTERM and SIGINT end it with 0.
/// </summary>
internal static class PauseProgram
{
    // rt_sigprocmask(SIG_SETMASK, all); loop: rt_sigtimedwait(all) -> 17: wait4(-1, WNOHANG) until none; 15, 2: exit(0).
    private const string CodeHex =
        "b80e000000bf02000000488d355a00000031d241ba080000000f05b880000000488d3d4400000031f631d241ba080000000f" +
        "0583f811740c83f80f742583f8027420ebd7b83d00000048c7c7ffffffff31f6ba010000004531d20f0585c07fe4ebb9b83c" +
        "00000031ff0f05ffffffffffffffff";

    private const ulong LoadAddress = 0x400000;
    private const int HeaderBytes = 64 + 56;

    public static byte[] Build()
    {
        byte[] code = Convert.FromHexString(CodeHex);
        byte[] file = new byte[HeaderBytes + code.Length];
        Span<byte> elf = file;
        new byte[] { 0x7f, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1 }.CopyTo(elf);
        BinaryPrimitives.WriteUInt16LittleEndian(elf[16..], 2);                          // executable
        BinaryPrimitives.WriteUInt16LittleEndian(elf[18..], 62);                         // x86-64
        BinaryPrimitives.WriteUInt32LittleEndian(elf[20..], 1);                          // version
        BinaryPrimitives.WriteUInt64LittleEndian(elf[24..], LoadAddress + HeaderBytes);  // entry
        BinaryPrimitives.WriteUInt64LittleEndian(elf[32..], 64);                         // program headers
        BinaryPrimitives.WriteUInt16LittleEndian(elf[52..], 64);
        BinaryPrimitives.WriteUInt16LittleEndian(elf[54..], 56);
        BinaryPrimitives.WriteUInt16LittleEndian(elf[56..], 1);
        Span<byte> segment = elf[64..];
        BinaryPrimitives.WriteUInt32LittleEndian(segment, 1);                            // load
        BinaryPrimitives.WriteUInt32LittleEndian(segment[4..], 5);                       // read, execute
        BinaryPrimitives.WriteUInt64LittleEndian(segment[16..], LoadAddress);
        BinaryPrimitives.WriteUInt64LittleEndian(segment[24..], LoadAddress);
        BinaryPrimitives.WriteUInt64LittleEndian(segment[32..], (ulong)file.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(segment[40..], (ulong)file.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(segment[48..], 0x1000);
        code.CopyTo(elf[HeaderBytes..]);
        return file;
    }
}
