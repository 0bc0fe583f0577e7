// Print what changes, from C# (.NET 8 or newer) without any package: dotnet run [ADDRESS], in a console project.
// A token goes into BIMODAL_TOKEN.
//
// Not compiled and not run by bimodal's tests: .NET is not installed where they run. The same messages are read by
// listen.mjs and listen.cpp, which are.

using System.Net.WebSockets;
using System.Text.Json;

var address = new Uri(args.Length > 0 ? args[0] : "ws://127.0.0.1:8484/events?changes=1");
var token = Environment.GetEnvironmentVariable("BIMODAL_TOKEN");

while (true)
{
    try
    {
        using var events = new ClientWebSocket();
        if (token is not null) events.Options.SetRequestHeader("Authorization", $"Bearer {token}");
        await events.ConnectAsync(address, CancellationToken.None);
        while (await ReadAsync(events) is { } message)
        {
            using var parsed = JsonDocument.Parse(message);
            var stream = parsed.RootElement.GetProperty("stream").GetString();
            var emotion = parsed.RootElement.GetProperty("emotion");
            var label = emotion.GetProperty("label").GetString();
            Console.WriteLine($"{stream} {label ?? "unknown: " + emotion.GetProperty("because").GetString()}");
        }
    }
    catch (WebSocketException error)
    {
        Console.Error.WriteLine($"{address}: {error.Message}; trying again");
    }
    await Task.Delay(1000);
}

// One whole message; null once the server has closed.
static async Task<byte[]?> ReadAsync(ClientWebSocket events)
{
    using var whole = new MemoryStream();
    var part = new byte[16 * 1024];
    while (true)
    {
        var result = await events.ReceiveAsync(part, CancellationToken.None);
        if (result.MessageType == WebSocketMessageType.Close) return null;
        whole.Write(part, 0, result.Count);
        if (result.EndOfMessage) return whole.ToArray();
    }
}
