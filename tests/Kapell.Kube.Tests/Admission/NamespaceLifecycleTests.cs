using Kapell.ApiServer.Admission;
using Kapell.ApiServer.Authentication;
using Kapell.ApiServer.Http;
using Kapell.ApiServer.Registry;
using Kapell.Machinery;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace Kapell.Kube.Tests.Admission;

/// <summary>Memory lags behind the store: it still has the namespace as it was before somebody deleted it.</summary>
public sealed class NamespaceLifecycleTests
{
    private static readonly KubeObject Active = new("""{"metadata":{"name":"a"},"status":{"phase":"Active"}}"""u8.ToArray());
    private static readonly KubeObject Ending = new("""{"metadata":{"name":"a"},"status":{"phase":"Terminating"}}"""u8.ToArray());

    private readonly FakeTimeProvider _time = new();
    private readonly NamespaceLifecycle _plugin;
    private int _reads;

    public NamespaceLifecycleTests() => _plugin = new NamespaceLifecycle(new Memory(), ReadAsync, _time);

    [Fact]
    public async Task Nothing_is_made_in_a_namespace_that_was_just_deleted_here()
    {
        await _plugin.MutateAsync(Request(AdmissionOperation.Create, "configmaps"), CancellationToken.None);
        Assert.Equal(0, _reads);

        await _plugin.MutateAsync(Request(AdmissionOperation.Delete, "namespaces"), CancellationToken.None);
        StatusException refused = await Assert.ThrowsAsync<StatusException>(
            async () => await _plugin.MutateAsync(Request(AdmissionOperation.Create, "configmaps"), CancellationToken.None));
        Assert.Equal(403, refused.Status.Code);
        Assert.Equal(1, _reads);
    }

    [Fact]
    public async Task After_a_while_memory_is_believed_again()
    {
        await _plugin.MutateAsync(Request(AdmissionOperation.Delete, "namespaces"), CancellationToken.None);
        _time.Advance(TimeSpan.FromSeconds(31));
        await _plugin.MutateAsync(Request(AdmissionOperation.Create, "configmaps"), CancellationToken.None);
        Assert.Equal(0, _reads);
    }

    private static AdmissionRequest Request(AdmissionOperation operation, string resource) => new()
    {
        Operation = operation,
        Definition = BuiltinResources.All.First(r => r.Plural == resource),
        Namespace = resource == "namespaces" ? "" : "a",
        Name = "a",
        User = new UserInfo { Name = "jane" },
    };

    private Task<KubeObject?> ReadAsync(ObjectKey key, CancellationToken cancel)
    {
        _reads++;
        return Task.FromResult<KubeObject?>(Ending);
    }

    private sealed class Memory : IObjectLookup
    {
        public ValueTask<KubeObject?> FindAsync(string group, string resource, ObjectKey key, CancellationToken cancel) => new(Active);
    }
}
