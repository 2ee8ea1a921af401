using System.Security.Cryptography.X509Certificates;

namespace Kapell.Client;

/// <summary>Where an API server is and how to prove who we are; what <see cref="KubeClient"/> is built from.</summary>
public sealed record RestConfig
{
    /// <summary>The API server's address, such as <c>https://127.0.0.1:6443</c>; a path in it is kept as a prefix.</summary>
    public required Uri Server { get; init; }

    /// <summary>The only authorities trusted for the server's certificate; null trusts the system's.</summary>
    public X509Certificate2Collection? Authorities { get; init; }

    /// <summary>The client certificate with its private key, or null.</summary>
    public X509Certificate2? ClientCertificate { get; init; }

    /// <summary>A bearer token; <see cref="BearerTokenFile"/> wins over it, as in client-go.</summary>
    public string BearerToken { get; init; } = "";

    /// <summary>A file with a bearer token, read again every minute: projected tokens rotate.</summary>
    public string BearerTokenFile { get; init; } = "";

    /// <summary>Asked for a token at every request, when set; wins over the other two. Must answer at once.</summary>
    public Func<string>? BearerTokenSource { get; init; }

    public string Username { get; init; } = "";

    public string Password { get; init; } = "";

    /// <summary>Checks the server's certificate against this name instead of the host in <see cref="Server"/>.</summary>
    public string TlsServerName { get; init; } = "";

    /// <summary>Accepts any server certificate. Never combined with <see cref="Authorities"/>.</summary>
    public bool InsecureSkipTlsVerify { get; init; }

    public string UserAgent { get; init; } = $"kapell/{KubernetesVersion.Plain} (linux/amd64)";

    /// <summary>Requests per second the client allows itself on average; 0, the default, sets no limit.</summary>
    public double Qps { get; init; }

    /// <summary>How many requests may go at once above <see cref="Qps"/>.</summary>
    public int Burst { get; init; } = 10;

    /// <summary>How long one request other than a watch may take. The server's own limit is 60 s.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(65);

    /// <summary>The namespace of the kubeconfig's context, <c>default</c> when it names none.</summary>
    public string Namespace { get; init; } = "default";

    /// <summary>The same server and credentials under another user agent, such as <c>kube-controller-manager/v1.35.0 ... job-controller</c>.</summary>
    public RestConfig WithUserAgent(string component) => this with { UserAgent = component };
}
