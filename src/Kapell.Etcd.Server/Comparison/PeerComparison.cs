using System.Collections.Concurrent;
using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Peers;
using Kapell.Raft;

namespace Kapell.Etcd.Server.Comparison;

/// <summary>The members of this cluster over the peer port. Our own store is only looked at while nobody changes it, a piece at a time.</summary>
/// <param name="connected">Ask only members with whom a stream is open; otherwise whoever can be reached, and who could not be once is left out.</param>
internal sealed class PeerComparison(ReplicaHost host, PeerTransport transport, bool connected) : IComparedMembers
{
    private const int LagTries = 20;
    private static readonly TimeSpan LagPause = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan AskTimeout = TimeSpan.FromSeconds(5);
    private readonly ConcurrentDictionary<ulong, bool> _silent = new();

    public ulong Self => host.Header.MemberId;

    public int Count => host.Reading(() => host.Replica.Applier.Members.All.Count);

    /// <summary>How long our own looks at the store took, to pace the work by.</summary>
    public TimeSpan OwnTime { get; private set; }

    public CompareAnswer Own(CompareRequest request)
    {
        long began = host.Time.GetTimestamp();
        CompareAnswer answer = host.Reading(() => StoreAnswers.Answer(host.Store, request));
        OwnTime += host.Time.GetElapsedTime(began);
        return answer;
    }

    public async Task<IReadOnlyDictionary<ulong, CompareAnswer>> OthersAsync(CompareRequest request, CancellationToken cancellation)
    {
        ulong[] others = [.. host.Reading(() => host.Replica.Applier.Members.All.Select(static m => m.ID).ToArray()).Where(id => id != Self)];
        (ulong Id, CompareAnswer? Answer)[] answers = await Task.WhenAll(others.Select(async id => (id, await AskAsync(id, request, cancellation))));
        return answers.Where(static a => a.Answer is not null).ToDictionary(static a => a.Id, static a => a.Answer!);
    }

    private async Task<CompareAnswer?> AskAsync(ulong id, CompareRequest request, CancellationToken cancellation)
    {
        CompareAnswer? answer = null;
        for (int i = 0; i < LagTries && (connected ? transport.IsConnected(id) : !_silent.ContainsKey(id)); i++)
        {
            answer = await AskOnceAsync(id, request, cancellation);
            if (answer is not { Status: CompareAnswer.Types.Status.Future })
            {
                break;
            }

            await Task.Delay(LagPause, host.Time, cancellation);
        }

        if (answer is null)
        {
            _silent[id] = true;
        }

        return answer;
    }

    private async Task<CompareAnswer?> AskOnceAsync(ulong id, CompareRequest request, CancellationToken cancellation)
    {
        using CancellationTokenSource late = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        late.CancelAfter(AskTimeout);
        foreach (string url in transport.UrlsOf(id))
        {
            try
            {
                using HttpRequestMessage message = transport.Context.Request(HttpMethod.Post, url, PeerProtocol.ComparePath, new MemberId(id));
                message.Content = new ByteArrayContent(request.ToByteArray());
                using HttpResponseMessage response = await transport.Context.Client.SendAsync(message, late.Token);
                if (response.IsSuccessStatusCode)
                {
                    return CompareAnswer.Parser.ParseFrom(await response.Content.ReadAsByteArrayAsync(late.Token));
                }
            }
            catch (Exception e) when (e is HttpRequestException or InvalidProtocolBufferException
                || (e is OperationCanceledException && !cancellation.IsCancellationRequested))
            {
                // It does not take part in this stretch; the next address, or the next round.
                continue;
            }
        }

        return null;
    }
}
