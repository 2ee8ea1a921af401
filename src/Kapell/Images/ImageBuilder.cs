using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using Kapell.Cli.Node;

namespace Kapell.Cli.Images;

/// <summary>Builds the images that a first cluster needs without any registry: pause, busybox and nginx, from Debian's packages.</summary>
internal static class ImageBuilder
{
    public const string PauseReference = "registry.k8s.io/pause:3.10";
    public const string BusyboxReference = "docker.io/library/busybox:latest";
    public const string NginxReference = "docker.io/library/nginx:latest";
    private const string SearchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    private const int Executable = 0b111_101_101;

    private static readonly string[] Packages =
        ["busybox", "libc6", "nginx", "nginx-common", "libpcre2-8-0", "libssl3", "zlib1g", "libcrypt1", "curl"];

    private static string Triplet => RuntimeInformation.OSArchitecture == Architecture.Arm64 ? "aarch64-linux-gnu" : "x86_64-linux-gnu";

    private static string Loader => RuntimeInformation.OSArchitecture == Architecture.Arm64 ? "lib/ld-linux-aarch64.so.1" : "lib64/ld-linux-x86-64.so.2";

    public static string PauseFile(string folder) => Path.Combine(folder, "pause.tar");

    public static bool HasAll(string folder) =>
        new[] { "pause.tar", "busybox.tar", "nginx.tar" }.All(name => File.Exists(Path.Combine(folder, name)));

    /// <summary>Needs nothing from outside on x86-64, so that a sandbox can always start.</summary>
    public static void BuildPause(string folder)
    {
        Directory.CreateDirectory(folder);
        ImageArchive.Write(PauseFile(folder), PauseReference, new JsonObject
        {
            ["Entrypoint"] = new JsonArray("/pause"), ["User"] = "65535:65535",
        }, [LayerEntry.File("pause", PauseProgram.Build(), Executable)]);
    }

    public static async Task BuildAllAsync(string folder, TextWriter output, CancellationToken stopping)
    {
        Directory.CreateDirectory(folder);
        using DebianPackages packages = new();
        output.WriteLine("fetching Debian packages: " + string.Join(' ', Packages));
        await packages.FetchAsync(Packages, stopping);
        if (RuntimeInformation.OSArchitecture == Architecture.X64)
        {
            BuildPause(folder);
        }
        else
        {
            ImageArchive.Write(PauseFile(folder), PauseReference, new JsonObject
            {
                ["Entrypoint"] = new JsonArray("/bin/busybox", "sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done"),
            }, await BaseAsync(packages, stopping));
        }

        output.WriteLine("built " + PauseReference);
        List<LayerEntry> basis = await BaseAsync(packages, stopping);
        ImageArchive.Write(Path.Combine(folder, "busybox.tar"), BusyboxReference, new JsonObject
        {
            ["Env"] = new JsonArray(SearchPath), ["Cmd"] = new JsonArray("sh"),
        }, basis);
        output.WriteLine("built " + BusyboxReference);
        ImageArchive.Write(Path.Combine(folder, "nginx.tar"), NginxReference, new JsonObject
        {
            ["Env"] = new JsonArray(SearchPath),
            ["Cmd"] = new JsonArray("/usr/sbin/nginx", "-g", "daemon off;"),
            ["ExposedPorts"] = new JsonObject { ["80/tcp"] = new JsonObject() },
            ["StopSignal"] = "SIGQUIT",
        }, [.. basis, .. Nginx(packages)]);
        output.WriteLine("built " + NginxReference);
    }

    /// <summary>Busybox (the dynamic one: the static one crashes when it resolves names) with the C library, users and resolver.</summary>
    private static async Task<List<LayerEntry>> BaseAsync(DebianPackages packages, CancellationToken stopping)
    {
        List<LayerEntry> layer = [];
        foreach (string directory in new[]
        {
            "bin", "sbin", "dev", "etc", "home", "lib", "lib/" + Triplet, "lib64", "proc", "root", "run", "sys", "usr", "usr/bin", "usr/sbin", "var", "var/log", "var/www",
        })
        {
            layer.Add(LayerEntry.Directory(directory));
        }

        layer.Add(LayerEntry.Directory("tmp", 0b1_111_111_111));
        layer.Add(LayerEntry.Link("var/run", "/run"));
        layer.Add(LayerEntry.File("bin/busybox", await File.ReadAllBytesAsync(packages.PathOf("bin/busybox"), stopping), Executable));
        ProcessResult applets = await HostProcess.MustRunAsync(packages.PathOf("bin/busybox"), ["--list"], "the package busybox is damaged", stopping);
        foreach (string applet in applets.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(a => a != "busybox"))
        {
            layer.Add(LayerEntry.Link("bin/" + applet, "busybox"));
        }

        layer.Add(LayerEntry.File(Loader, packages.Find(Path.GetFileName(Loader)), Executable));
        AddLibraries(layer, packages, "libc.so.6", "libresolv.so.2", "libnss_files.so.2", "libnss_dns.so.2");
        layer.Add(LayerEntry.Text("etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nnginx:x:101:101:nginx:/nonexistent:/bin/false\n" +
            "nobody:x:65534:65534:nobody:/home:/bin/false\n"));
        layer.Add(LayerEntry.Text("etc/group", "root:x:0:\ndaemon:x:1:\nnginx:x:101:\nnobody:x:65534:\n"));
        layer.Add(LayerEntry.Text("etc/nsswitch.conf", "hosts: files dns\n"));
        return layer;
    }

    private static List<LayerEntry> Nginx(DebianPackages packages)
    {
        List<LayerEntry> layer = [];
        foreach (string directory in new[]
        {
            "var/log/nginx", "var/lib", "var/lib/nginx", "usr/share", "usr/share/nginx", "usr/share/nginx/html", "etc/nginx", "etc/nginx/conf.d",
        })
        {
            layer.Add(LayerEntry.Directory(directory));
        }

        layer.Add(LayerEntry.File("usr/sbin/nginx", File.ReadAllBytes(packages.PathOf("usr/sbin/nginx")), Executable));
        AddLibraries(layer, packages, "libpcre2-8.so.0", "libssl.so.3", "libcrypto.so.3", "libz.so.1", "libcrypt.so.1");
        layer.Add(LayerEntry.File("etc/nginx/mime.types", packages.Find("mime.types")));
        layer.Add(LayerEntry.Text("etc/nginx/nginx.conf", """
            user nginx;
            worker_processes auto;
            error_log /dev/stderr notice;
            pid /run/nginx.pid;
            events { worker_connections 1024; }
            http {
                include /etc/nginx/mime.types;
                default_type application/octet-stream;
                access_log /dev/stdout;
                sendfile on;
                keepalive_timeout 65;
                include /etc/nginx/conf.d/*.conf;
            }

            """));
        layer.Add(LayerEntry.Text("etc/nginx/conf.d/default.conf", """
            server {
                listen 80;
                server_name localhost;
                location / { root /usr/share/nginx/html; index index.html index.htm; }
            }

            """));
        layer.Add(LayerEntry.Text("usr/share/nginx/html/index.html",
            "<!DOCTYPE html>\n<html><head><title>Welcome to nginx!</title></head><body><h1>Welcome to nginx!</h1></body></html>\n"));
        return layer;
    }

    private static void AddLibraries(List<LayerEntry> layer, DebianPackages packages, params string[] names)
    {
        foreach (string name in names)
        {
            layer.Add(LayerEntry.File($"lib/{Triplet}/{name}", packages.Find(name), Executable));
        }
    }
}
