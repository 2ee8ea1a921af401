namespace Kapell.Cli;

/// <summary>The front page of the executable.</summary>
internal static class HelpText
{
    public const string All = """
        kapell is etcd and the Kubernetes control plane in one program.

        Usage:
          kapell COMMAND [flags]

        A cluster on this machine:
          up                  bring it up (needs root), and run it until Ctrl-C
          down                stop it and its containers; the data stays
          status              is it up, are its parts well
          images              build or list the images that the local registry serves

        One component alone, with upstream's flags (also when called through a link of the upstream name):
          etcd                                        the store
          apiserver           kube-apiserver          the API server
          controller-manager  kube-controller-manager
          scheduler           kube-scheduler
          kubelet

        Members of a running store:
          member replace      a dead voting member by a new one

        Files of a store that is not running:
          etcdutl             restore or look at a snapshot that etcdctl saved; restore a backup to a point in time; verify files

        Every command has --help.

        Examples:
          kapell up
          kapell up --offline --detach --data-dir /tmp/one && KUBECONFIG=/tmp/one/kubeconfig kubectl get nodes
          kapell etcd --data-dir /tmp/store --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379

        """;
}
