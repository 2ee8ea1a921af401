namespace Kapell.Cli.Up;

/// <summary>Why the cluster cannot be brought up, and the next step for the person who asked.</summary>
internal sealed class UpException(string why, string nextStep) : Exception(why + "\n  next: " + nextStep);
