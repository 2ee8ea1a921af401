using System.Text;
using Kapell.Kubelet.Pods;
using Kapell.Kubelet.Probing;
using Kapell.Kubelet.Runtime;
using Kapell.Kubelet.Server;
using Xunit;
using static Kapell.Kube.Tests.Kubelet.PodFixtures;

namespace Kapell.Kube.Tests.Kubelet;

public sealed class KubeletRulesTests
{
    [Fact]
    public void Back_off_doubles_from_ten_seconds_to_five_minutes_and_forgets_after_a_long_run()
    {
        BackOff backOff = BackOff.ForContainers();
        Assert.False(backOff.IsInBackOffSince("c", Now, Now));
        List<double> waits = [];
        for (int i = 0; i < 7; i++)
        {
            backOff.Next("c", Now, Now);
            waits.Add(backOff.Get("c").TotalSeconds);
        }

        Assert.Equal([10, 20, 40, 80, 160, 300, 300], waits);
        Assert.True(backOff.IsInBackOffSince("c", Now, Now.AddSeconds(299)));
        Assert.False(backOff.IsInBackOffSince("c", Now, Now.AddSeconds(301)));
        Assert.False(backOff.IsInBackOffSince("c", Now.AddMinutes(11), Now.AddMinutes(11)));
        backOff.Next("c", Now.AddMinutes(11), Now.AddMinutes(11));
        Assert.Equal(10, backOff.Get("c").TotalSeconds);
    }

    [Fact]
    public void A_probe_needs_its_threshold_in_a_row()
    {
        ProbeCounter counter = new(successThreshold: 2, failureThreshold: 3);
        bool[] results = [true, true, false, false, true, false, false, false];
        Assert.Equal([null, true, null, null, null, null, null, false], results.Select(counter.Add));
        Assert.Null(new ProbeCounter(1, 3).Add(false));
    }

    [Theory]
    [InlineData("$(A) and $(B)", "1 and $(B)")]
    [InlineData("$$(A) $", "$(A) $")]
    [InlineData("$(A", "$(A")]
    [InlineData("plain", "plain")]
    public void Variables_expand_and_unknown_ones_stay(string text, string expanded) =>
        Assert.Equal(expanded, Expansion.Expand(text, new Dictionary<string, string> { ["A"] = "1" }));

    [Theory]
    [InlineData("nginx", "latest")]
    [InlineData("nginx:1.2", "1.2")]
    [InlineData("localhost:5000/nginx", "latest")]
    [InlineData("nginx@sha256:00", "")]
    public void The_tag_of_an_image(string image, string tag) => Assert.Equal(tag, ImageName.TagOf(image));

    [Theory]
    [InlineData("""{"limits":{"cpu":"1","memory":"1Gi"}}""", "Guaranteed")]
    [InlineData("""{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"500m","memory":"1Gi"}}""", "Burstable")]
    [InlineData("""{"requests":{"cpu":"100m"}}""", "Burstable")]
    [InlineData("{}", "BestEffort")]
    public void The_quality_of_service_class(string resources, string expected) =>
        Assert.Equal(expected, Simple(extra: $",\"resources\":{resources}").Qos.ToString());

    [Theory]
    [InlineData(0, 2, 0)]
    [InlineData(0.5, 512, 50_000)]
    [InlineData(0.001, 2, 1000)]
    [InlineData(4, 4096, 400_000)]
    public void Cores_become_shares_and_quota(double cores, long shares, long quota)
    {
        Assert.Equal(shares, ResourceSettings.Shares((decimal)cores));
        Assert.Equal(quota, ResourceSettings.Quota((decimal)cores));
    }

    [Fact]
    public void Log_lines_lose_their_prefix_and_partial_ones_are_joined()
    {
        LogLines lines = new(new LogRequest());
        byte[] text = Encoding.UTF8.GetBytes("2026-11-23T12:00:00Z stdout P one \n2026-11-23T12:00:00Z stdout F two\nbroken\n2026-11-23T12:00:01Z stderr F three\nrest");
        Assert.Equal(text.Length - 4, lines.Take(text, final: false));
        Assert.Equal("one two\nthree\n", Encoding.UTF8.GetString(lines.Output.ToArray()));
    }

    [Fact]
    public void Log_requests_filter_by_time_stream_and_size()
    {
        byte[] text = Encoding.UTF8.GetBytes("2026-11-23T12:00:00Z stdout F old\n2026-11-23T12:00:05Z stderr F error\n2026-11-23T12:00:06Z stdout F fresh\n");
        LogLines lines = new(new LogRequest { Since = Now.AddSeconds(3), Stream = "stdout", LimitBytes = 4 });
        lines.Take(text, final: true);
        Assert.Equal("fres", Encoding.UTF8.GetString(lines.Output.ToArray()));
        Assert.True(lines.Full);
    }

    [Fact]
    public void A_spdy_stream_opens_with_stored_deflate_blocks()
    {
        byte[] frame = SpdyFrames.OpenStream(1, [("streamType", "stdin")], firstBlock: true);
        Assert.Equal([0x80, 3, 0, 1, 0], frame[..5]);
        using MemoryStream block = new(frame[18..]);
        using System.IO.Compression.ZLibStream zlib = new(block, System.IO.Compression.CompressionMode.Decompress);
        byte[] plain = new byte[4 + 4 + 10 + 4 + 5];
        zlib.ReadExactly(plain);
        Assert.Equal("\0\0\0\u0001\0\0\0\u000astreamtype\0\0\0\u0005stdin", Encoding.ASCII.GetString(plain));
    }

    [Fact]
    public void Pods_this_runtime_cannot_keep_apart_are_refused()
    {
        Assert.Equal("UserNamespacesUnsupported", PodAdmission.Refuse(Pod("""{"hostUsers":false,"containers":[]}"""), [])?.Reason);
        Pod sysctl = Pod("""{"securityContext":{"sysctls":[{"name":"kernel.msgmax","value":"1"}]},"containers":[]}""");
        Assert.Equal("SysctlForbidden", PodAdmission.Refuse(sysctl, [])?.Reason);
        Assert.Null(PodAdmission.Refuse(sysctl, ["kernel.msg*"]));
    }
}
