using System.Text.Json.Nodes;
using Kapell.ApiServer.Authentication;
using Kapell.ApiServer.Http;
using Kapell.Base;
using Kapell.Machinery;

namespace Kapell.ApiServer.Admission;

/// <summary>
/// Gives each pod a service account, its image pull secrets and the projected token volume
/// (upstream: plugin/pkg/admission/serviceaccount).
/// </summary>
internal sealed class ServiceAccountAdmission(IObjectLookup objects, ulong seed) : IAdmission
{
    private const string MountPath = "/var/run/secrets/kubernetes.io/serviceaccount";
    private const string MirrorAnnotation = "kubernetes.io/config.mirror";
    private const string EnforceMountableAnnotation = "kubernetes.io/enforce-mountable-secrets";
    private const string VolumePrefix = "kube-api-access-";
    private const string NameLetters = "bcdfghjklmnpqrstvwxz2456789";
    private const int TokenSeconds = 3607;

    private readonly Prng _random = new(seed);

    public bool Handles(AdmissionRequest request) =>
        AdmissionErrors.IsPod(request) && request.Operation == AdmissionOperation.Create;

    public async ValueTask MutateAsync(AdmissionRequest request, CancellationToken cancel)
    {
        JsonObject pod = request.Object!;
        if (IsMirror(pod))
        {
            return;
        }

        JsonObject spec = pod.ObjectOrNew("spec");
        if (spec.Text("serviceAccountName").Length == 0)
        {
            spec["serviceAccountName"] = "default";
        }

        // The deprecated name says the same (upstream: conversion of core/v1 PodSpec).
        spec["serviceAccount"] = spec.Text("serviceAccountName");
        KubeObject account = await AccountAsync(request, spec, cancel);
        if (WantsToken(spec, account))
        {
            MountToken(spec);
        }

        if (spec.Array("imagePullSecrets") is not { Count: > 0 } && account.Root.Items("imagePullSecrets").Any())
        {
            spec["imagePullSecrets"] = new JsonArray([.. account.Root.Items("imagePullSecrets").Select(s => (JsonNode)new JsonObject { ["name"] = s.Text("name") })]);
        }
    }

    public async ValueTask ValidateAsync(AdmissionRequest request, CancellationToken cancel)
    {
        JsonObject pod = request.Object!;
        JsonObject spec = pod.ObjectOrNew("spec");
        if (IsMirror(pod))
        {
            RefuseMirror(request, spec);
            return;
        }

        KubeObject account = await AccountAsync(request, spec, cancel);
        if (account.Annotations.GetValueOrDefault(EnforceMountableAnnotation) == "true")
        {
            LimitSecrets(request, spec, account);
        }
    }

    private static bool IsMirror(JsonObject pod) =>
        pod.Object("metadata").Object("annotations") is { } annotations && annotations.ContainsKey(MirrorAnnotation);

    private static void RefuseMirror(AdmissionRequest request, JsonObject spec)
    {
        if (spec.Text("serviceAccountName").Length > 0)
        {
            throw AdmissionErrors.Forbidden(request, "a mirror pod may not reference service accounts");
        }

        if ((spec.Array("volumes") ?? []).Any(v => v.Object("projected").Array("sources")?.Any(s => s.Object("serviceAccountToken") is not null) == true))
        {
            throw AdmissionErrors.Forbidden(request, "a mirror pod may not use ServiceAccountToken volume projections");
        }
    }

    private async ValueTask<KubeObject> AccountAsync(AdmissionRequest request, JsonObject spec, CancellationToken cancel)
    {
        string name = spec.Text("serviceAccountName");
        return await objects.FindAsync("", "serviceaccounts", new ObjectKey(request.Namespace, name), cancel)
            ?? throw AdmissionErrors.Forbidden(
                request, $"error looking up service account {request.Namespace}/{name}: serviceaccount \"{name}\" not found");
    }

    private static bool WantsToken(JsonObject spec, KubeObject account)
    {
        if (spec["automountServiceAccountToken"].AsBool() is { } own)
        {
            return own;
        }

        return account.Root.Bool("automountServiceAccountToken", absent: true);
    }

    private void MountToken(JsonObject spec)
    {
        string volume = (spec.Array("volumes") ?? []).Select(v => v.Text("name")).FirstOrDefault(n => n.StartsWith(VolumePrefix, StringComparison.Ordinal)) ?? "";
        bool isNew = volume.Length == 0;
        volume = isNew ? VolumePrefix + Suffix() : volume;
        bool mounted = false;
        foreach (string list in (string[])["initContainers", "containers"])
        {
            foreach (JsonObject container in (spec.Array(list) ?? []).OfType<JsonObject>())
            {
                if (container.Array("volumeMounts") is { } there && there.Any(m => m.Text("mountPath") == MountPath))
                {
                    continue;
                }

                mounted = true;
                JsonObject mount = new() { ["name"] = volume, ["readOnly"] = true, ["mountPath"] = MountPath };
                AppendTo(container, "volumeMounts", mount);
            }
        }

        if (mounted && isNew)
        {
            AppendTo(spec, "volumes", TokenVolume(volume));
        }
    }

    private static JsonObject TokenVolume(string name) => new()
    {
        ["name"] = name,
        ["projected"] = new JsonObject
        {
            ["sources"] = new JsonArray(
                new JsonObject { ["serviceAccountToken"] = new JsonObject { ["expirationSeconds"] = TokenSeconds, ["path"] = "token" } },
                new JsonObject
                {
                    ["configMap"] = new JsonObject
                    {
                        ["name"] = "kube-root-ca.crt", ["items"] = new JsonArray(new JsonObject { ["key"] = "ca.crt", ["path"] = "ca.crt" }),
                    },
                },
                new JsonObject
                {
                    ["downwardAPI"] = new JsonObject
                    {
                        ["items"] = new JsonArray(new JsonObject
                        {
                            ["path"] = "namespace", ["fieldRef"] = new JsonObject { ["apiVersion"] = "v1", ["fieldPath"] = "metadata.namespace" },
                        }),
                    },
                }),
            ["defaultMode"] = 420,
        },
    };

    private static void LimitSecrets(AdmissionRequest request, JsonObject spec, KubeObject account)
    {
        HashSet<string> allowed = [.. account.Root.Items("secrets").Select(s => s.Text("name"))];
        foreach (JsonNode? volume in spec.Array("volumes") ?? [])
        {
            string secret = volume.Object("secret").Text("secretName");
            if (secret.Length > 0 && !allowed.Contains(secret))
            {
                throw AdmissionErrors.Forbidden(
                    request, $"volume with secret.secretName=\"{secret}\" is not allowed because service account {account.Name} does not reference that secret");
            }
        }
    }

    private static void AppendTo(JsonObject holder, string name, JsonObject item)
    {
        if (holder.Array(name) is not { } list)
        {
            holder[name] = list = [];
        }

        list.Add((JsonNode)item);
    }

    private string Suffix()
    {
        lock (_random)
        {
            return string.Concat(Enumerable.Range(0, 5).Select(_ => NameLetters[_random.NextInt(0, NameLetters.Length)]));
        }
    }
}
