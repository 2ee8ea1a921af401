namespace Kapell.Client;

/// <summary>A kubeconfig cannot be used; the message says what is wrong and where, in client-go's words where it has them.</summary>
public sealed class KubeconfigException(string message) : Exception(message);
