using System.Globalization;
using System.Text;
using System.Text.Json;
using Grpc.Core;
using Kapell.Base;
using Kapell.Client;
using Kapell.Kubelet.Cri;
using Kapell.Kubelet.Cri.V1;
using Kapell.Kubelet.Pods;
using Kapell.Machinery;

namespace Kapell.Kubelet.Runtime;

/// <summary>Makes sure of a container's image by its pull policy, with back-off and upstream's events. // Kubernetes: pkg/kubelet/images/image_manager.go</summary>
internal sealed class ImagePuller(CriClient cri, KubeletEvents events, IObjectSource objects, KubeletOptions options, TimeProvider time)
{
    private readonly SemaphoreSlim _pulls = new(options.RegistryPullMax);
    private readonly Lock _lock = new();
    private readonly BackOff _backOff = BackOff.ForContainers(); // under _lock

    public async Task<Image> EnsureAsync(Pod pod, ContainerSpec spec, PodSandboxConfig sandbox, CancellationToken cancellation)
    {
        if (!IsValid(spec.Image))
        {
            string wrong = $"Failed to apply default image tag \"{spec.Image}\": couldn't parse image name \"{spec.Image}\": invalid reference format";
            events.Warning(pod, "InspectFailed", wrong, spec);
            throw new StartException("InvalidImageName", wrong);
        }

        string name = ImageName.WithDefaultTag(spec.Image);
        string policy = spec.ImagePullPolicy;
        Image? present = policy == "Always" ? null : await StatusAsync(name, cancellation);
        if (present is not null)
        {
            events.Normal(pod, "Pulled", $"Container image \"{spec.Image}\" already present on machine and can be accessed by the pod", spec);
            return present;
        }

        if (policy == "Never")
        {
            string missing = $"Container image \"{spec.Image}\" is not present with pull policy of Never";
            events.Warning(pod, "ErrImageNeverPull", missing, spec);
            throw new StartException("ErrImageNeverPull", missing);
        }

        return await PullAsync(pod, spec, name, sandbox, cancellation);
    }

    public async Task<Image?> StatusAsync(string name, CancellationToken cancellation) =>
        (await cri.Images.ImageStatusAsync(new ImageStatusRequest { Image = new ImageSpec { Image = name } }, cancellationToken: cancellation)).Image;

    private async Task<Image> PullAsync(Pod pod, ContainerSpec spec, string name, PodSandboxConfig sandbox, CancellationToken cancellation)
    {
        string key = $"{pod.Uid}_{spec.Image}";
        lock (_lock)
        {
            DateTimeOffset now = time.GetUtcNow();
            if (_backOff.IsInBackOffSince(key, _lastFailure.GetValueOrDefault(key, DateTimeOffset.MinValue), now))
            {
                string wait = $"Back-off pulling image \"{spec.Image}\"";
                events.Normal(pod, "BackOff", wait, spec);
                string because = _lastError.GetValueOrDefault(key, "");
                throw new StartException("ImagePullBackOff", because.Length > 0 ? $"{wait}: ErrImagePull: {because}" : wait);
            }
        }

        events.Normal(pod, "Pulling", $"Pulling image \"{spec.Image}\"", spec);
        long asked = time.GetTimestamp();
        await _pulls.WaitAsync(cancellation);
        try
        {
            long begun = time.GetTimestamp();
            PullImageRequest request = new() { Image = new ImageSpec { Image = name }, SandboxConfig = sandbox };
            request.Auth = await CredentialsAsync(pod, name, cancellation);
            PullImageResponse pulled = await cri.Images.PullImageAsync(request, cancellationToken: cancellation);
            Image image = await StatusAsync(pulled.ImageRef, cancellation) ?? await StatusAsync(name, cancellation)
                ?? throw new StartException("ErrImagePull", $"image \"{name}\" was pulled but the runtime does not have it");
            string took = GoDuration.Format(Milliseconds(time.GetElapsedTime(begun)));
            string waited = GoDuration.Format(Milliseconds(time.GetElapsedTime(asked)));
            events.Normal(
                pod, "Pulled", string.Create(CultureInfo.InvariantCulture,
                    $"Successfully pulled image \"{spec.Image}\" in {took} ({waited} including waiting). Image size: {image.Size} bytes."), spec);
            lock (_lock)
            {
                _backOff.Forget(key);
                _lastError.Remove(key);
                _lastFailure.Remove(key);
            }

            return image;
        }
        catch (RpcException e) when (!cancellation.IsCancellationRequested)
        {
            string text = CriClient.Text(e);
            lock (_lock)
            {
                DateTimeOffset now = time.GetUtcNow();
                _backOff.Next(key, _lastFailure.GetValueOrDefault(key, now), now);
                _lastFailure[key] = now;
                _lastError[key] = text;
            }

            events.Warning(pod, "Failed", $"Failed to pull image \"{spec.Image}\": {text}", spec);
            throw new StartException("ErrImagePull", text);
        }
        finally
        {
            _pulls.Release();
        }
    }

    private readonly Dictionary<string, DateTimeOffset> _lastFailure = new(StringComparer.Ordinal); // under _lock
    private readonly Dictionary<string, string> _lastError = new(StringComparer.Ordinal); // under _lock

    private static TimeSpan Milliseconds(TimeSpan t) => TimeSpan.FromMilliseconds(Math.Round(t.TotalMilliseconds));

    private static bool IsValid(string image)
    {
        string name = image.Split('@')[0];
        int colon = name.LastIndexOf(':');
        string path = colon > name.LastIndexOf('/') ? name[..colon] : name;
        return path.Length > 0 && !image.Any(c => char.IsWhiteSpace(c) || char.IsControl(c))
            && path.Split('/').Skip(path.Contains('/', StringComparison.Ordinal) ? 1 : 0).All(p => p.Length > 0 && p.All(c => c is >= 'a' and <= 'z' or >= '0' and <= '9' or '.' or '_' or '-'));
    }

    private async Task<AuthConfig?> CredentialsAsync(Pod pod, string image, CancellationToken cancellation)
    {
        string first = image.Split('/')[0];
        bool hasHost = image.Contains('/', StringComparison.Ordinal) && (first.Contains('.', StringComparison.Ordinal) || first.Contains(':', StringComparison.Ordinal) || first == "localhost");
        string host = hasHost ? first : "index.docker.io";
        foreach (JsonElement reference in pod.Spec.Items("imagePullSecrets"))
        {
            KubeObject? secret = await objects.GetAsync(Resources.Secrets, pod.Namespace, reference.Text("name"), cancellation);
            if (secret is null || !secret.Root.Get("data", ".dockerconfigjson").TryGetBytesFromBase64Safe(out byte[] json))
            {
                continue;
            }

            try
            {
                using JsonDocument document = JsonDocument.Parse(json);
                JsonElement auths = document.RootElement.Get("auths");
                foreach (JsonProperty entry in auths.ValueKind == JsonValueKind.Object ? [.. auths.EnumerateObject()] : Array.Empty<JsonProperty>())
                {
                    string server = entry.Name.Replace("https://", "", StringComparison.Ordinal).Replace("http://", "", StringComparison.Ordinal).Split('/')[0];
                    if (server == host || (host == "index.docker.io" && server == "docker.io"))
                    {
                        return Read(entry.Value);
                    }
                }
            }
            catch (JsonException e)
            {
                events.Warning(pod, "FailedToRetrieveImagePullSecret", $"image pull secret \"{secret.Name}\" cannot be read: {e.Message}");
            }
        }

        return null;
    }

    private static AuthConfig Read(JsonElement entry)
    {
        AuthConfig auth = new() { Username = entry.Text("username"), Password = entry.Text("password"), IdentityToken = entry.Text("identitytoken") };
        if (auth.Username.Length == 0 && entry.Get("auth").TryGetBytesFromBase64Safe(out byte[] both))
        {
            string[] parts = Encoding.UTF8.GetString(both).Split(':', 2);
            auth.Username = parts[0];
            auth.Password = parts.Length > 1 ? parts[1] : "";
        }

        return auth;
    }
}

/// <summary>Base64 text out of untrusted JSON.</summary>
internal static class Base64Reading
{
    public static bool TryGetBytesFromBase64Safe(this JsonElement e, out byte[] bytes)
    {
        bytes = [];
        return e.ValueKind == JsonValueKind.String && e.TryGetBytesFromBase64(out bytes!);
    }
}
