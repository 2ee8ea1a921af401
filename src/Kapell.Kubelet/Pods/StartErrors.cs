namespace Kapell.Kubelet.Pods;

/// <summary>Why a container does not run: the reason and message its Waiting state shows.</summary>
internal sealed record StartError(string Reason, string Message);

/// <summary>A container could not be started; the reason is shown in its Waiting state.</summary>
internal sealed class StartException(string reason, string message) : Exception(message)
{
    public string Reason { get; } = reason;
}
