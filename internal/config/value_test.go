package config

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSizesAreReadAndWritten(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text    string
		bytes   Size
		written string
	}{
		{"0", 0, "0B"},
		{"1", 1, "1B"},
		{"1048576", 1 << 20, "1MiB"},
		{"4GiB", 4 << 30, "4GiB"},
		{"4gib", 4 << 30, "4GiB"},
		{"512MB", 512_000_000, "512MB"},
		{"1.5 KiB", 1536, "1536B"},
		{"2TB", 2e12, "2TB"},
		{"16TiB", 16 << 40, "16TiB"},
	} {
		got, err := ParseSize(c.text)
		require.NoError(t, err, c.text)
		require.Equal(t, c.bytes, got, c.text)
		require.Equal(t, c.written, got.String())
	}
	for _, text := range []string{"", "GiB", "-1", "1e3", "Inf", "NaN", "0x10", "4G", "4 GiB GiB",
		".", "9999999TiB", "9999999.5TiB"} {
		_, err := ParseSize(text)
		require.Error(t, err, text)
	}
}

func FuzzSize(f *testing.F) {
	f.Add(int64(1536), "1.5KiB")
	f.Add(int64(math.MaxInt64), "8EiB")
	f.Fuzz(func(t *testing.T, n int64, text string) {
		if n >= 0 {
			back, err := ParseSize(Size(n).String())
			require.NoError(t, err)
			require.Equal(t, Size(n), back)
		}
		if size, err := ParseSize(text); err == nil {
			require.GreaterOrEqual(t, size, Size(0))
		}
	})
}

func TestTokenSourcesAreReadAndWritten(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text, shown string
		source      TokenSource
	}{
		{"stable", "stable", TokenSource{Kind: TokenStable}},
		{"file:/run/t", "file:/run/t", TokenSource{Kind: TokenFile, Path: "/run/t"}},
		{"url:https://h/t", "url:https://h/t", TokenSource{Kind: TokenURL, URL: "https://h/t"}},
		{"url:https://u:p@h/t?key=k#f",
			"url:https://REDACTED@h/t?REDACTED",
			TokenSource{Kind: TokenURL, URL: "https://u:p@h/t?key=k#f"}},
	} {
		got, err := ParseTokenSource(c.text)
		require.NoError(t, err)
		require.Equal(t, c.source, got)
		require.Equal(t, c.shown, got.String())
		require.Equal(t, c.text == "stable", got.NeedsSecret())
	}
	for _, text := range []string{"", "Stable", "file:", "url:", "url:ftp://h",
		"url:/t", "hunter2"} {
		_, err := ParseTokenSource(text)
		require.EqualError(t, err,
			"a token source is one of stable, file:PATH, url:https://HOST/PATH", text)
	}
}

func TestURLsAreShownWithoutWhatIsSecretInThem(t *testing.T) {
	t.Parallel()
	for given, shown := range map[string]string{
		"nats://127.0.0.1:4222":          "nats://127.0.0.1:4222",
		"embedded":                       "embedded",
		"nats://user:pass@h:4222":        "nats://REDACTED@h:4222",
		"nats://token@a:1,nats://b:2":    "nats://REDACTED@a:1,nats://b:2",
		"https://h/p?token=x#y":          "https://h/p?REDACTED",
		"nats://user:a,b@h:4222":         "REDACTED",
		"nats://user:80,b@h":             "REDACTED",
		"nats://user:%zz@h":              "REDACTED",
		"user:pass@h":                    "REDACTED",
		"nats://a:4222, nats://t@b:4222": "nats://a:4222,nats://REDACTED@b:4222",
	} {
		require.Equal(t, shown, RedactURL(given), given)
	}
}

func TestDurationsAreWrittenShort(t *testing.T) {
	t.Parallel()
	for d, written := range map[time.Duration]string{
		0: "0s", 100 * time.Millisecond: "100ms", 10 * time.Second: "10s", time.Minute: "1m",
		90 * time.Second: "1m30s",
		10 * time.Minute: "10m", time.Hour: "1h", 48 * time.Hour: "48h", 70 * time.Minute: "1h10m",
		time.Hour + time.Second: "1h0m1s",
	} {
		require.Equal(t, written, duration(d))
		back, err := time.ParseDuration(written)
		require.NoError(t, err)
		require.Equal(t, d, back)
	}
}

func TestLoopbackIsThisMachineOnly(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"localhost", "LOCALHOST", "127.0.0.1", "127.8.8.8", "::1",
		"[::1]", "::ffff:127.0.0.1"} {
		require.True(t, isLoopback(host), host)
	}
	for _, host := range []string{"", "0.0.0.0", "::", "10.0.0.1", "example.com",
		"localhost.example.com"} {
		require.False(t, isLoopback(host), host)
	}
}

func TestDistanceCountsSlipsOfTheFinger(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		n    int
	}{
		{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"grace", "grace", 0}, {"gracce", "grace", 1},
		{"gracw", "grace", 1},
		{"garce", "grace", 1}, {"Grace", "grace", 0}, {"concurency", "concurrency", 1},
		{"kitten", "sitting", 3},
	} {
		require.Equal(t, c.n, distance(c.a, c.b), c.a+" "+c.b)
		require.Equal(t, c.n, distance(c.b, c.a), c.b+" "+c.a)
	}
}
