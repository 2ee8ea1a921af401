using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Kapell.Client;

/// <summary>
/// A kubeconfig file (client-go: clientcmd/api/v1): clusters, users, contexts, and the current context. Relative file names in it
/// are relative to the file itself. Exec and auth-provider plugins are refused by name, not ignored.
/// </summary>
public sealed class Kubeconfig
{
    private const int FileBytesMax = 4 * 1024 * 1024;
    private readonly YamlMappingNode _root;
    private readonly string _folder;
    private readonly string _source;

    private Kubeconfig(YamlMappingNode root, string folder, string source)
    {
        _root = root;
        _folder = folder;
        _source = source;
    }

    public string CurrentContext => Text(_root, "current-context");

    /// <exception cref="KubeconfigException">The file is missing, too large or no kubeconfig.</exception>
    public static Kubeconfig Load(string path)
    {
        FileInfo file = new(path);
        if (!file.Exists)
        {
            throw new KubeconfigException($"stat {path}: no such file or directory");
        }

        if (file.Length > FileBytesMax)
        {
            throw new KubeconfigException($"error loading config file \"{path}\": larger than {FileBytesMax} bytes");
        }

        return Parse(File.ReadAllText(path), Path.GetDirectoryName(Path.GetFullPath(path))!, path);
    }

    /// <summary>Reads the text of a kubeconfig; <paramref name="folder"/> is what relative file names in it are relative to.</summary>
    public static Kubeconfig Parse(string yaml, string folder, string source)
    {
        try
        {
            YamlStream stream = [];
            stream.Load(new StringReader(yaml));
            return stream.Documents.Count > 0 && stream.Documents[0].RootNode is YamlMappingNode root
                ? new Kubeconfig(root, folder, source)
                : throw new KubeconfigException("invalid configuration: no configuration has been provided, try setting KUBERNETES_MASTER environment variable");
        }
        catch (YamlException e)
        {
            throw new KubeconfigException($"error loading config file \"{source}\": yaml: line {e.Start.Line}: {e.Message}");
        }
        catch (Exception e) when (e is InvalidOperationException or ArgumentException)
        {
            // The library's for some text that is no YAML; its words say nothing of that.
            throw new KubeconfigException($"error loading config file \"{source}\": yaml: it is not valid YAML");
        }
    }

    /// <summary>Reads the file and takes its current context.</summary>
    public static RestConfig LoadRestConfig(string path) => Load(path).ToRestConfig();

    /// <summary>The configuration of one context; empty means the current one.</summary>
    /// <exception cref="KubeconfigException">The context, or what it names, is not there or cannot be used.</exception>
    public RestConfig ToRestConfig(string context = "")
    {
        string contextName = context.Length > 0 ? context : CurrentContext;
        YamlMappingNode? contextNode = contextName.Length == 0 ? null : Named("contexts", contextName, "context");
        if (contextNode is null)
        {
            throw new KubeconfigException(contextName.Length == 0
                ? $"invalid configuration: {_source} has no current-context"
                : $"context was not found for specified context: {contextName}");
        }

        string clusterName = Text(contextNode, "cluster");
        YamlMappingNode cluster = Named("clusters", clusterName, "cluster")
            ?? throw new KubeconfigException($"invalid configuration: cluster \"{clusterName}\" was not found for context \"{contextName}\"");
        string userName = Text(contextNode, "user");
        YamlMappingNode user = Named("users", userName, "user") ?? (userName.Length == 0 ? [] :
            throw new KubeconfigException($"invalid configuration: user \"{userName}\" was not found for context \"{contextName}\""));
        RefusePlugins(user, userName);
        string server = Text(cluster, "server");
        if (!Uri.TryCreate(server.Contains("://", StringComparison.Ordinal) ? server : "http://" + server, UriKind.Absolute, out Uri? uri)
            || uri.Scheme is not ("http" or "https"))
        {
            throw new KubeconfigException($"invalid configuration: cluster \"{clusterName}\" has no usable server (\"{server}\")");
        }

        bool insecure = Text(cluster, "insecure-skip-tls-verify") == "true";
        X509Certificate2Collection? authorities = Authorities(cluster);
        if (insecure && authorities is not null)
        {
            throw new KubeconfigException(
                $"invalid configuration: certificate-authority-data and insecure-skip-tls-verify are both set for cluster \"{clusterName}\"");
        }

        string ns = Text(contextNode, "namespace");
        return new RestConfig
        {
            Server = uri, InsecureSkipTlsVerify = insecure, Authorities = authorities, TlsServerName = Text(cluster, "tls-server-name"),
            ClientCertificate = ClientCertificate(user, userName), BearerToken = Text(user, "token"), BearerTokenFile = FileName(user, "tokenFile"),
            Username = Text(user, "username"), Password = Text(user, "password"), Namespace = ns.Length > 0 ? ns : "default",
        };
    }

    private static void RefusePlugins(YamlMappingNode user, string userName)
    {
        foreach (string plugin in (ReadOnlySpan<string>)["exec", "auth-provider"])
        {
            if (user.Children.ContainsKey(plugin))
            {
                throw new KubeconfigException($"user \"{userName}\" uses the credential plugin \"{plugin}\", which is not supported: use a certificate or a token");
            }
        }
    }

    private X509Certificate2Collection? Authorities(YamlMappingNode cluster)
    {
        string? pem = Pem(cluster, "certificate-authority");
        if (pem is null)
        {
            return null;
        }

        X509Certificate2Collection collection = [];
        try
        {
            collection.ImportFromPem(pem);
        }
        catch (CryptographicException e)
        {
            throw new KubeconfigException($"unable to load root certificates: {e.Message}");
        }

        return collection.Count > 0
            ? collection
            : throw new KubeconfigException("unable to load root certificates: unable to parse bytes as PEM block");
    }

    private X509Certificate2? ClientCertificate(YamlMappingNode user, string userName)
    {
        string? certificate = Pem(user, "client-certificate");
        string? key = Pem(user, "client-key");
        if (certificate is null && key is null)
        {
            return null;
        }

        if (certificate is null || key is null)
        {
            throw new KubeconfigException($"user \"{userName}\" needs both client-certificate and client-key (or their -data forms)");
        }

        try
        {
            return X509Certificate2.CreateFromPem(certificate, key);
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            throw new KubeconfigException($"tls: failed to find or match the certificate and key of user \"{userName}\": {e.Message}");
        }
    }

    /// <summary>The <c>-data</c> form wins over the file, as in client-go.</summary>
    private string? Pem(YamlMappingNode node, string field)
    {
        string data = Text(node, field + "-data");
        if (data.Length > 0)
        {
            try
            {
                return System.Text.Encoding.UTF8.GetString(Convert.FromBase64String(data));
            }
            catch (FormatException)
            {
                throw new KubeconfigException($"error loading config file \"{_source}\": {field}-data: illegal base64 data");
            }
        }

        string path = FileName(node, field);
        if (path.Length == 0)
        {
            return null;
        }

        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new KubeconfigException($"invalid configuration: unable to read {field} {path}: {e.Message}");
        }
    }

    private string FileName(YamlMappingNode node, string field)
    {
        string path = Text(node, field);
        return path.Length == 0 ? "" : Path.Combine(_folder, path);
    }

    private YamlMappingNode? Named(string list, string name, string body)
    {
        if (!_root.Children.TryGetValue(list, out YamlNode? node) || node is not YamlSequenceNode items)
        {
            return null;
        }

        foreach (YamlMappingNode item in items.Children.OfType<YamlMappingNode>())
        {
            if (Text(item, "name") == name)
            {
                return item.Children.TryGetValue(body, out YamlNode? inner) ? inner as YamlMappingNode ?? [] : [];
            }
        }

        return null;
    }

    private static string Text(YamlMappingNode node, string field) =>
        node.Children.TryGetValue(field, out YamlNode? value) && value is YamlScalarNode { Value: { } text } ? text : "";
}
