using System.Net;
using System.Numerics;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Registry;
using Kapell.Machinery;

namespace Kapell.ApiServer.Http;

/// <summary>What is there from the start: four namespaces and the <c>kubernetes</c> service with its endpoints (upstream: controlplane/controller).</summary>
internal sealed class Bootstrap(ServerContext context)
{
    private static readonly string[] Namespaces = ["kube-system", "default", "kube-public", "kube-node-lease"];
    private static readonly TimeSpan Period = TimeSpan.FromSeconds(10);

    public async Task EnsureAsync(CancellationToken cancel)
    {
        foreach (string name in Namespaces)
        {
            await EnsureAsync("", "namespaces", new ObjectKey("", name), () => new JsonObject
            {
                ["metadata"] = new JsonObject { ["name"] = name, ["labels"] = new JsonObject { ["kubernetes.io/metadata.name"] = name } },
                ["spec"] = new JsonObject { ["finalizers"] = new JsonArray("kubernetes") },
                ["status"] = new JsonObject { ["phase"] = "Active" },
            }, null, cancel);
        }

        await EnsureServiceAsync(cancel);
    }

    public async Task KeepAsync(CancellationToken stopping)
    {
        while (true)
        {
            await Task.Delay(Period, context.Time, stopping);
            try
            {
                await EnsureAsync(stopping);
            }
            catch (StatusException e)
            {
                HttpLog.HookFailed(context.Logs.CreateLogger("Kapell.ApiServer"), "bootstrap-controller", e.Message, null);
            }
        }
    }

    /// <summary>The first address of the range: the one clients in pods find the server under.</summary>
    internal static string FirstAddress(string cidr)
    {
        IPNetwork network = IPNetwork.Parse(cidr.Split(',')[0]);
        byte[] bytes = network.BaseAddress.GetAddressBytes();
        BigInteger number = new BigInteger(bytes, isUnsigned: true, isBigEndian: true) + 1;
        byte[] next = number.ToByteArray(isUnsigned: true, isBigEndian: true);
        byte[] padded = new byte[bytes.Length];
        next.CopyTo(padded, bytes.Length - next.Length);
        return new IPAddress(padded).ToString();
    }

    private async Task EnsureServiceAsync(CancellationToken cancel)
    {
        ServerOptions options = context.Options;
        ObjectKey key = new("default", "kubernetes");
        string ip = FirstAddress(options.ServiceClusterIpRange);
        await EnsureAsync("", "services", key, () => new JsonObject
        {
            ["metadata"] = Metadata(new JsonObject { ["component"] = "apiserver", ["provider"] = "kubernetes" }),
            ["spec"] = new JsonObject
            {
                ["clusterIP"] = ip, ["clusterIPs"] = new JsonArray(ip), ["type"] = "ClusterIP", ["sessionAffinity"] = "None",
                ["ipFamilies"] = new JsonArray(ip.Contains(':', StringComparison.Ordinal) ? "IPv6" : "IPv4"), ["ipFamilyPolicy"] = "SingleStack",
                ["internalTrafficPolicy"] = "Cluster",
                ["ports"] = new JsonArray((JsonNode)new JsonObject
                {
                    ["name"] = "https", ["protocol"] = "TCP", ["port"] = 443L, ["targetPort"] = (long)options.SecurePort,
                }),
            },
            ["status"] = new JsonObject { ["loadBalancer"] = new JsonObject() },
        }, null, cancel);
        string address = options.AdvertiseAddress;
        if (address.Length == 0)
        {
            return;
        }

        await EnsureAsync("", "endpoints", key, () => new JsonObject
        {
            ["metadata"] = Metadata(new JsonObject { ["endpointslice.kubernetes.io/skip-mirror"] = "true" }),
        }, e => e["subsets"] = new JsonArray((JsonNode)new JsonObject
        {
            ["addresses"] = new JsonArray((JsonNode)new JsonObject { ["ip"] = address }),
            ["ports"] = new JsonArray((JsonNode)new JsonObject { ["name"] = "https", ["port"] = (long)options.SecurePort, ["protocol"] = "TCP" }),
        }), cancel);
        await EnsureAsync("discovery.k8s.io", "endpointslices", key, () => new JsonObject
        {
            ["metadata"] = Metadata(new JsonObject { ["kubernetes.io/service-name"] = "kubernetes" }),
            ["addressType"] = address.Contains(':', StringComparison.Ordinal) ? "IPv6" : "IPv4",
        }, e =>
        {
            e["endpoints"] = new JsonArray((JsonNode)new JsonObject
            {
                ["addresses"] = new JsonArray(address), ["conditions"] = new JsonObject { ["ready"] = true },
            });
            e["ports"] = new JsonArray((JsonNode)new JsonObject { ["name"] = "https", ["protocol"] = "TCP", ["port"] = (long)options.SecurePort });
        }, cancel);
    }

    private static JsonObject Metadata(JsonObject labels) => new() { ["name"] = "kubernetes", ["namespace"] = "default", ["labels"] = labels };

    /// <summary>Creates what is missing and, with <paramref name="keep"/>, sets right what has drifted.</summary>
    private async Task EnsureAsync(
        string group, string plural, ObjectKey key, Func<JsonObject> make, Action<JsonObject>? keep, CancellationToken cancel)
    {
        if (context.Resources.Find(group, plural) is not { } definition)
        {
            return;
        }

        if (await context.Store.GetAsync(definition, key, cancel) is null)
        {
            JsonObject made = make();
            keep?.Invoke(made);
            definition.Default?.Invoke(made);
            try
            {
                await context.Store.CreateAsync(definition, made, cancel);
            }
            catch (StatusException e) when (e.IsAlreadyExists)
            {
                // Another server was faster.
                return;
            }

            return;
        }

        if (keep is not null)
        {
            await context.Store.UpdateAsync(definition, key, null, current =>
            {
                keep(current);
                definition.Default?.Invoke(current);
                return current;
            }, cancel);
        }
    }
}
