using System.Net;
using System.Text;
using Kapell.Client;

namespace Kapell.Kube.Tests.Client;

/// <summary>Answers requests from a function; keeps what was asked.</summary>
internal sealed class FakeServer(Func<HttpRequestMessage, string, HttpResponseMessage> answer) : HttpMessageHandler
{
    public List<string> Asked { get; } = [];

    public static HttpResponseMessage Json(string body, HttpStatusCode code = HttpStatusCode.OK) =>
        new(code) { Content = new StringContent(body, Encoding.UTF8, "application/json") };

    public KubeClient Client(TimeProvider time) => new(new RestConfig { Server = new Uri("http://fake") }, this, time);

    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        string body = request.Content is null ? "" : await request.Content.ReadAsStringAsync(cancellationToken);
        lock (Asked)
        {
            Asked.Add($"{request.Method} {request.RequestUri!.PathAndQuery}");
        }

        return answer(request, body);
    }
}
