namespace Kapell.Client;

/// <summary>The version of Kubernetes whose API and behaviour this program has.</summary>
public static class KubernetesVersion
{
    public const string Plain = "v1.35.0";

    /// <summary>As servers and nodes report it.</summary>
    public const string Reported = Plain + "+kapell";
}
