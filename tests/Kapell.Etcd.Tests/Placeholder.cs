namespace Kapell.Etcd.Tests;

public sealed class Placeholder;
