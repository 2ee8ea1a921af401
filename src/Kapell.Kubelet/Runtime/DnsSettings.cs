using System.Text.Json;
using Kapell.Kubelet.Cri.V1;
using Kapell.Kubelet.Pods;
using Kapell.Machinery;

namespace Kapell.Kubelet.Runtime;

/// <summary>The resolver settings of a pod by its policy. // Kubernetes: pkg/kubelet/network/dns/dns.go GetPodDNS</summary>
internal static class DnsSettings
{
    public static DNSConfig For(Pod pod, KubeletOptions options, string hostResolvConf)
    {
        string policy = pod.Spec.Text("dnsPolicy") is { Length: > 0 } text ? text : "ClusterFirst";
        DNSConfig host = ParseResolvConf(hostResolvConf);
        bool cluster = policy == "ClusterFirstWithHostNet" || (policy == "ClusterFirst" && !pod.HostNetwork);
        DNSConfig result = new();
        if (cluster && options.ClusterDns.Count > 0)
        {
            result.Servers.AddRange(options.ClusterDns);
            string domain = options.ClusterDomain;
            result.Searches.AddRange([$"{pod.Namespace}.svc.{domain}", $"svc.{domain}", domain]);
            result.Searches.AddRange(host.Searches.Where(s => !result.Searches.Contains(s)));
            result.Options.Add("ndots:5");
        }
        else if (policy != "None")
        {
            result = host;
        }

        JsonElement own = pod.Spec.Get("dnsConfig");
        result.Servers.AddRange(Strings(own, "nameservers").Where(s => !result.Servers.Contains(s)));
        result.Searches.AddRange(Strings(own, "searches").Where(s => !result.Searches.Contains(s)));
        foreach (JsonElement option in own.Items("options"))
        {
            string name = option.Text("name");
            for (int i = result.Options.Count - 1; i >= 0; i--)
            {
                if (result.Options[i].Split(':')[0] == name)
                {
                    result.Options.RemoveAt(i);
                }
            }

            result.Options.Add(option.Has("value") ? $"{name}:{option.Text("value")}" : name);
        }

        return result;
    }

    public static DNSConfig ParseResolvConf(string text)
    {
        DNSConfig config = new();
        foreach (string line in text.Split('\n'))
        {
            string[] words = line.Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries);
            switch (words)
            {
                case ["nameserver", string server, ..]:
                    config.Servers.Add(server);
                    break;
                case ["search", .. string[] searches]:
                    config.Searches.Clear();
                    config.Searches.AddRange(searches.Where(s => s != "."));
                    break;
                case ["options", .. string[] options]:
                    config.Options.Clear();
                    config.Options.AddRange(options);
                    break;
            }
        }

        return config;
    }

    private static IEnumerable<string> Strings(JsonElement e, string name) =>
        e.Items(name).Where(v => v.ValueKind == JsonValueKind.String).Select(v => v.GetString()!);
}
