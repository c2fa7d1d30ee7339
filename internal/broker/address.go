package broker

import (
	"errors"
	"net/url"
	"strings"
)

// withoutURL keeps an address, which may hold a password, out of an error.
func withoutURL(err error) error {
	var bad *url.Error
	if errors.As(err, &bad) {
		return errors.New("this is no address")
	}
	return err
}

// redactURL drops user and password of every address in a comma-separated list.
func redactURL(urls string) string {
	parts := strings.Split(urls, ",")
	for i, p := range parts {
		if at := strings.LastIndexByte(p, '@'); at >= 0 {
			scheme := ""
			if s := strings.Index(p, "://"); s >= 0 {
				scheme = p[:s+3]
			}
			parts[i] = scheme + p[at+1:]
		}
	}
	return strings.Join(parts, ",")
}
