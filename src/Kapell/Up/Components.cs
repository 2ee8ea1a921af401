namespace Kapell.Cli.Up;

/// <summary>The components by the names they are known under: subcommand and upstream program.</summary>
internal static class Components
{
    public static ComponentMain Etcd { get; } = Kapell.Etcd.Server.EtcdCommand.RunAsync;

    public static ComponentMain ApiServer { get; } = Kapell.ApiServer.ApiServerCommand.RunAsync;

    public static ComponentMain ControllerManager { get; } = Kapell.Controllers.ControllerManagerCommand.RunAsync;

    public static ComponentMain Scheduler { get; } = Kapell.Scheduler.SchedulerCommand.RunAsync;

    public static ComponentMain Kubelet { get; } = Kapell.Kubelet.KubeletCommand.RunAsync;

    /// <summary>Null when the name is none of a component's.</summary>
    public static ComponentMain? Find(string name) => name switch
    {
        "etcd" => Etcd,
        "apiserver" or "kube-apiserver" => ApiServer,
        "controller-manager" or "kube-controller-manager" => ControllerManager,
        "scheduler" or "kube-scheduler" => Scheduler,
        "kubelet" => Kubelet,
        _ => null,
    };
}
