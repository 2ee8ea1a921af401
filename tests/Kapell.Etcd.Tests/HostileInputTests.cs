using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using Google.Protobuf;
using Grpc.Core;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server;
using Kapell.Etcd.Server.Calls;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Http.Gateway;
using Kapell.Etcd.Server.Http2;
using Kapell.Etcd.Server.Peers;
using Kapell.Etcd.Server.Replication;
using Kapell.Etcd.Tests.Http2;
using Kapell.Mvcc;
using Kapell.Raft;
using Kapell.Storage;
using Kapell.Storage.Wal;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Kapell.Etcd.Tests;

/// <summary>Inputs that once were taken badly, found by tests/Kapell.Fuzz or on the way to it (docs/BUGS.md).</summary>
public sealed class HostileInputTests
{
    [Theory]
    [InlineData(0, 60)]
    [InlineData(5, 0)]
    [InlineData(5, -1)]
    public void A_checkpoint_with_a_lease_that_is_none_is_refused(long id, long ttl) =>
        Assert.Throws<InvalidDataException>(() => CheckpointLoader.Load(Checkpoint(leases: 1, [.. BitConverter.GetBytes(id), .. BitConverter.GetBytes(ttl)])));

    [Fact]
    public void A_length_in_a_checkpoint_costs_no_memory_before_its_bytes_come()
    {
        byte[] record = [0xff, 0xff, 0xff, 0x3f, 1, 0, 0, 0, 1, 2, 3];
        long before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Throws<InvalidDataException>(() => CheckpointLoader.Load(Checkpoint(leases: 0, record)));
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 64 << 20);
    }

    [Theory]
    [InlineData((1UL << 32) + 2, 1)]
    [InlineData(3, 1)]
    [InlineData(ulong.MaxValue, 1)]
    [InlineData(2, 0)]
    public void A_log_whose_entries_do_not_follow_each_other_is_refused(ulong index, ulong term)
    {
        MemoryDisk disk = new(new Prng(1));
        ReplicaSettings settings = new() { DataDirectory = "d", SegmentBytes = 1 << 20 };
        using (WriteAheadLog log = WriteAheadLog.Open(disk, settings.WalDirectory, new WalOptions { SegmentBytes = 1 << 20 }, static _ => { }))
        {
            byte[] nothing = [];
            log.Append([
                LogRecords.Of(new Entry(new LogIndex(1), new Term(1), EntryKind.Normal, nothing)),
                LogRecords.Of(new Entry(new LogIndex(index), new Term(term), EntryKind.Normal, nothing)), LogRecords.Identity(9, 1)]);
            log.Sync();
        }

        Assert.Throws<InvalidDataException>(() => ReplicaLoader.Load(disk, settings, new Prng(1)));
    }

    /// <summary>Found by Kapell.Fuzz, seed 7: the start ended with a broken invariant.</summary>
    [Fact]
    public void A_log_of_member_0_is_refused()
    {
        MemoryDisk disk = new(new Prng(1));
        ReplicaSettings settings = new() { DataDirectory = "d", SegmentBytes = 1 << 20 };
        using (WriteAheadLog log = WriteAheadLog.Open(disk, settings.WalDirectory, new WalOptions { SegmentBytes = 1 << 20 }, static _ => { }))
        {
            log.Append([LogRecords.Identity(9, 0)]);
            log.Sync();
        }

        Assert.Contains("is of member 0 of cluster 9", Assert.Throws<InvalidDataException>(() => ReplicaLoader.Load(disk, settings, new Prng(1))).Message, StringComparison.Ordinal);
    }

    /// <summary>Found by Kapell.Sim, seed 1795913052470233: killed within the first milliseconds of its life, a member never started again.</summary>
    [Fact]
    public void Entries_that_stand_there_twice_void_nothing_behind_them()
    {
        MemoryDisk disk = new(new Prng(1));
        ReplicaSettings settings = new() { DataDirectory = "d", SegmentBytes = 1 << 20 };
        using (WriteAheadLog log = WriteAheadLog.Open(disk, settings.WalDirectory, new WalOptions { SegmentBytes = 1 << 20 }, static _ => { }))
        {
            WalRecord[] entries = [.. Enumerable.Range(1, 5).Select(static i => LogRecords.Of(new Entry(new LogIndex((ulong)i), new Term(1), EntryKind.Normal, Array.Empty<byte>())))];
            WalRecord state = LogRecords.Of(new HardState(new Term(1), MemberId.None, new LogIndex(5)));
            log.Append([.. entries, state, LogRecords.Identity(9, 1), state, .. entries[..3]]);
            log.Sync();
        }

        LoadedReplica loaded = ReplicaLoader.Load(disk, settings, new Prng(1));
        Assert.Equal(new LogIndex(5), loaded.Replica.Raft.LastIndex);
        loaded.Log.Dispose();
    }

    [Fact]
    public void A_forwarded_proposal_that_is_no_command_does_not_get_into_the_log()
    {
        byte[] put = new Command(1, CommandKind.Put, new PutRequest { Key = ByteString.CopyFromUtf8("k") }).Encode();
        Assert.True(PeerReceiver.IsCommand(new ProposedEntry(EntryKind.Normal, put)));
        Assert.False(PeerReceiver.IsCommand(new ProposedEntry(EntryKind.Normal, put.AsMemory(0, put.Length - 1))));
        Assert.False(PeerReceiver.IsCommand(new ProposedEntry(EntryKind.Normal, new byte[3])));
        Assert.False(PeerReceiver.IsCommand(new ProposedEntry(EntryKind.ConfChange, new byte[] { 1, 200 })));
        Assert.Throws<InvalidDataException>(() => Command.Decode(put.AsSpan(0, put.Length - 1)));
    }

    [Theory]
    [InlineData("{")]
    [InlineData("}")]
    [InlineData("{\"key\":}")]
    [InlineData("nonsense")]
    public void Json_that_is_none_is_an_invalid_argument(string json) => Assert.Equal(
        StatusCode.InvalidArgument, Assert.Throws<RpcException>(() => GatewayJson.Read(Encoding.UTF8.GetBytes(json), PutRequest.Descriptor)).StatusCode);

    [Fact]
    public void A_configuration_whose_names_are_no_texts_is_refused()
    {
        string path = Path.GetTempFileName();
        File.WriteAllText(path, "? [a, b]\n: c\n");
        FlagException refusal = Assert.Throws<FlagException>(() => new EtcdFlags().Parse(["--config-file", path], static _ => null));
        Assert.Contains("whose name is no text", refusal.Message, StringComparison.Ordinal);
        File.Delete(path);
    }

    /// <summary>Found by the fuzzer: the library that reads YAML has other exceptions than its own for these.</summary>
    [Theory]
    [InlineData("name: n1\n[\uFFFDta-dir: GqyX/tmp/x\nlis'en-en-")]
    [InlineData("name: n1\n? ]")]
    public void A_configuration_that_is_no_yaml_is_refused(string text)
    {
        string path = Path.GetTempFileName();
        File.WriteAllText(path, text);
        FlagException refusal = Assert.Throws<FlagException>(() => new EtcdFlags().Parse(["--config-file", path], static _ => null));
        Assert.Contains("error loading the configuration file", refusal.Message, StringComparison.Ordinal);
        File.Delete(path);
    }

    [Fact]
    public async Task A_path_that_is_none_ends_the_stream()
    {
        Responder responder = new();
        PlainCall call = new(static _ => Task.CompletedTask, new ServiceCollection().BuildServiceProvider(), responder, Responder.Stream((":method", "GET"), (":path", "x")));
        ((IHttp2Request)call).End();
        Assert.Equal(Http2ErrorCode.InternalError, await responder.WasReset.Task.WaitAsync(TimeSpan.FromSeconds(10), TestContext.Current.CancellationToken));
    }

    [Fact]
    public void A_stream_whose_messages_nobody_reads_holds_only_so_much()
    {
        GrpcBinder binder = new(new CallCounter());
        TaskCompletionSource never = new();
        binder.AddMethod(
            new Method<byte[], byte[]>(MethodType.DuplexStreaming, "s", "m", Marshallers.Create(static b => b, static b => b), Marshallers.Create(static b => b, static b => b)),
            new DuplexStreamingServerMethod<byte[], byte[]>(async (_, _, _) => await never.Task));
        GrpcServer server = new(binder, 2 << 20, static _ => Task.CompletedTask, new ServiceCollection().BuildServiceProvider(), NullLogger.Instance);
        Responder responder = new();
        IHttp2Request call = server.Begin(responder, Responder.Stream((":method", "POST"), (":path", "/s/m"), ("content-type", "application/grpc")));
        byte[] message = new byte[5 + (1 << 20)];
        BinaryPrimitives.WriteInt32BigEndian(message.AsSpan(1), 1 << 20);
        int taken = 0;
        while (taken < 100 && responder.Trailers is null)
        {
            call.Data(new ReadOnlySequence<byte>(message));
            taken++;
        }

        Assert.InRange(taken, 4, 6);
        Assert.Contains("8", responder.Trailers, StringComparison.Ordinal); // RESOURCE_EXHAUSTED
        never.SetResult();
    }

    private static MemoryStream Checkpoint(long leases, byte[] rest) => new(
        [.. "KMVCC\0\0\u0002"u8, .. BitConverter.GetBytes(5L), .. BitConverter.GetBytes(0L), .. BitConverter.GetBytes(leases), .. rest]);
}
