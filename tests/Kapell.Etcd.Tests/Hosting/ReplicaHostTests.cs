using Google.Protobuf;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;
using Kapell.Storage;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Kapell.Etcd.Tests.Hosting;

/// <summary>Who takes the turns of a member of its own cluster, on a disk that says who flushes.</summary>
public sealed class ReplicaHostTests : IAsyncLifetime
{
    private const int Attempts = 50;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("kapell-host-");
    private readonly WatchedDisk _disk = new(new FileDisk());
    private ReplicaHost _host = null!;

    public async ValueTask InitializeAsync()
    {
        ReplicaSettings settings = new()
        {
            DataDirectory = _directory.FullName,
            Founding = new Founding(7, 1, [new Member { ID = 1 }]),
            TickMilliseconds = 20,
            SegmentBytes = 1 << 20,
        };
        LoadedReplica loaded = ReplicaLoader.Load(_disk, settings, new Prng(5));
        _host = new ReplicaHost(loaded, _disk, settings, 1000, TimeProvider.System, new Prng(6), NullLogger.Instance);
        _host.Start();
        await _host.Ready.WaitAsync(Patience, TestContext.Current.CancellationToken);
        await PutAsync("first");
    }

    public async ValueTask DisposeAsync()
    {
        await _host.DisposeAsync();
        _directory.Delete(recursive: true);
    }

    [Fact]
    public async Task Who_asked_does_it_himself_to_the_end_while_nobody_else_asks()
    {
        for (int i = 0; i < Attempts; i++)
        {
            // Not when the time of a tick has just come.
            if (PutInBatch("alone") is { IsCompleted: true } outcome)
            {
                Assert.Null((await outcome).Error);
                return;
            }
        }

        Assert.Fail("another thread did what this one could have done");
    }

    [Fact]
    public async Task Who_has_sockets_to_hear_does_not_wait_for_the_disk_for_what_others_asked_for_meanwhile()
    {
        for (int i = 0; i < Attempts; i++)
        {
            int self = Environment.CurrentManagedThreadId;
            int flushes = 0;
            List<Task<ApplyOutcome>> others = [];
            _disk.Flushing = () =>
            {
                if (Environment.CurrentManagedThreadId == self && flushes++ == 0)
                {
                    others.AddRange(PutElsewhere(10));
                }
            };
            Task<ApplyOutcome> own = PutInBatch("own");
            _disk.Flushing = null;
            int here = flushes;
            Assert.Null((await own.WaitAsync(Patience, TestContext.Current.CancellationToken)).Error);
            foreach (ApplyOutcome outcome in await Task.WhenAll(others).WaitAsync(Patience, TestContext.Current.CancellationToken))
            {
                Assert.Null(outcome.Error);
            }

            Assert.InRange(here, 0, 1);
            if (here == 1)
            {
                return;
            }
        }

        Assert.Fail("this thread never took a turn");
    }

    private List<Task<ApplyOutcome>> PutElsewhere(int count)
    {
        List<Task<ApplyOutcome>> outcomes = [];
        Thread thread = new(() => outcomes.AddRange(Enumerable.Range(0, count).Select(i => PutAsync($"other/{i}"))));
        thread.Start();
        thread.Join();
        return outcomes;
    }

    private Task<ApplyOutcome> PutInBatch(string key)
    {
        Assert.True(WorkBatch.TryBegin());
        Task<ApplyOutcome> outcome = PutAsync(key);
        WorkBatch.End();
        return outcome;
    }

    private Task<ApplyOutcome> PutAsync(string key) => _host.ProposeAsync(
        CommandKind.Put, new PutRequest { Key = ByteString.CopyFromUtf8(key) }, TestContext.Current.CancellationToken);

    private sealed class WatchedDisk(IDisk disk) : PassThroughDisk(disk)
    {
        private volatile Action? _flushing;

        public Action? Flushing
        {
            set => _flushing = value;
        }

        protected override IDiskFile Wrap(IDiskFile file) => new WatchedFile(this, file);

        private sealed class WatchedFile(WatchedDisk owner, IDiskFile file) : PassThroughFile(file)
        {
            public override void FlushContent(long offset, long length)
            {
                owner._flushing?.Invoke();
                base.FlushContent(offset, length);
            }
        }
    }
}
