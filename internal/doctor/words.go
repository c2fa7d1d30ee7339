package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// counted returns a number with its noun: "1 server", "3 servers".
func counted[N int | int64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return grouped(int64(n)) + " " + noun + "s"
}

// be is the verb after so many.
func be(n int) string {
	if n == 1 {
		return " is"
	}
	return " are"
}

// grouped writes a number with a comma between thousands.
func grouped(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// size writes a number of bytes.
func size(n int64) string {
	for _, unit := range []struct {
		name  string
		bytes int64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= unit.bytes {
			text := fmt.Sprintf("%.1f", float64(n)/float64(unit.bytes))
			return strings.TrimSuffix(text, ".0") + " " + unit.name
		}
	}
	return fmt.Sprintf("%d B", n)
}

// apart writes a duration that some clocks are apart, or that an answer takes. It rounds up.
func apart(d time.Duration) string {
	d = d.Abs()
	if d < time.Second {
		return fmt.Sprintf("%d ms", (d+time.Millisecond-1)/time.Millisecond)
	}
	if d < time.Minute {
		return fmt.Sprintf("%.1f s", math.Ceil(d.Seconds()*10)/10)
	}
	text := (d + time.Second - 1).Truncate(time.Second).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	return text
}

// sentence makes a text one: it begins with a capital and ends with a point.
func sentence(text string) string {
	first, n := utf8.DecodeRuneInString(text)
	if n == 0 {
		return ""
	}
	word, _, _ := strings.Cut(text, " ")
	if word != "kefu" && !strings.ContainsAny(word, "._") {
		text = string(unicode.ToUpper(first)) + text[n:]
	}
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	return text
}

// isCertificate says whether an error is about the certificate that the other side has shown.
func isCertificate(err error) bool {
	var (
		verification *tls.CertificateVerificationError
		authority    x509.UnknownAuthorityError
		hostname     x509.HostnameError
		invalid      x509.CertificateInvalidError
	)
	return errors.As(err, &verification) || errors.As(err, &authority) ||
		errors.As(err, &hostname) || errors.As(err, &invalid)
}
