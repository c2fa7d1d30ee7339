package sandbox

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/plainjson"
)

//go:embed page.txt
var manual string

// maxScript bounds what a control call may send.
const maxScript = 16 << 20

// controlHandler serves everything that is not the API: what the package comment lists as the
// control API.
func (s *Sandbox) controlHandler() http.Handler {
	mux := http.NewServeMux()
	for pattern, handle := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /{$}":                    s.getPage,
		"GET /sandbox/{$}":            s.getPage,
		"GET /sandbox/rules":          s.getRules,
		"POST /sandbox/rules":         s.postRules,
		"DELETE /sandbox/rules":       s.deleteRules,
		"DELETE /sandbox/rules/{id}":  s.deleteRule,
		"GET /sandbox/received":       s.getReceived,
		"DELETE /sandbox/received":    s.deleteReceived,
		"GET /sandbox/count":          s.getCount,
		"GET /sandbox/stats":          s.getStats,
		"GET /sandbox/wait":           s.getWait,
		"POST /sandbox/tokens":        s.postToken,
		"POST /sandbox/tokens/expire": s.expireTokens,
		"POST /sandbox/reset":         s.postReset,

		"GET /sandbox/settings":          s.getSettings,
		"POST /sandbox/settings":         s.postSettings,
		"DELETE /sandbox/settings":       s.deleteSettings,
		"GET /sandbox/apps":              s.getApps,
		"POST /sandbox/apps":             s.postApp,
		"GET /sandbox/users":             ofApp(s.Users),
		"POST /sandbox/users":            s.postUsers,
		"GET /sandbox/clock":             s.getClock,
		"POST /sandbox/clock":            s.postClock,
		"GET /sandbox/quota":             ofApp(s.Used),
		"POST /sandbox/quota":            s.postQuota,
		"GET /sandbox/kfaccounts":        ofApp(s.KFAccounts),
		"POST /sandbox/kfaccounts":       s.postKFAccount,
		"DELETE /sandbox/kfaccounts":     s.deleteKFAccount,
		"GET /sandbox/kfaccounts/avatar": s.getAvatar,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet {
				s.log.Info("sandbox control", "method", r.Method, "path", r.URL.Path)
			}
			if err := handle(w, r); err != nil {
				writeError(w, err)
			}
		})
	}
	return mux
}

// controlError is a refusal with its HTTP status.
type controlError struct {
	status int
	err    error
}

func (e *controlError) Error() string { return e.err.Error() }
func (e *controlError) Unwrap() error { return e.err }

func badRequest(err error) error { return &controlError{http.StatusBadRequest, err} }

func writeError(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	if e, ok := errors.AsType[*controlError](err); ok {
		status = e.status
	}
	// the client has gone: nothing to do about it
	_ = writeJSON(w, status, map[string]string{"error": err.Error()})
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	return plainjson.NewEncoder(w).Encode(v)
}

// readJSON reads a body strictly into v.
func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxScript))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return badRequest(err)
	}
	return nil
}

// readMany reads one value or an array of them, strictly.
func readMany[T any](w http.ResponseWriter, r *http.Request) ([]T, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxScript))
	if err != nil {
		return nil, badRequest(err)
	}
	many := make([]T, 1)
	if bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("[")) {
		err = unmarshalStrict(body, &many)
	} else {
		err = unmarshalStrict(body, &many[0])
	}
	if err != nil {
		return nil, badRequest(err)
	}
	return many, nil
}

func (s *Sandbox) getPage(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff") // the page repeats the Host header
	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}
	//nolint:gosec // G705: the page is plain text, which no browser takes for HTML
	_, err := io.WriteString(w, strings.ReplaceAll(manual, "{{url}}", scheme+r.Host))
	return err
}

func (s *Sandbox) getRules(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, s.Rules())
}

// postRules adds one rule or an array of them: all, or none when one is wrong.
func (s *Sandbox) postRules(w http.ResponseWriter, r *http.Request) error {
	rules, err := readMany[Rule](w, r)
	if err != nil {
		return err
	}
	for i := range rules {
		if err := rules[i].Check(); err != nil {
			return badRequest(fmt.Errorf("number %d of %d: %w", i+1, len(rules), err))
		}
	}
	added := make([]RuleStatus, len(rules))
	for i, rule := range rules {
		added[i] = RuleStatus{ID: s.Add(rule), Rule: rule}
	}
	return writeJSON(w, http.StatusCreated, added)
}

func (s *Sandbox) deleteRules(w http.ResponseWriter, _ *http.Request) error {
	s.RemoveRules()
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Sandbox) deleteRule(w http.ResponseWriter, r *http.Request) error {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil || !s.Remove(id) {
		return &controlError{http.StatusNotFound, fmt.Errorf("no rule %q", r.PathValue("id"))}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Sandbox) getReceived(w http.ResponseWriter, r *http.Request) error {
	q := newQuery(r.URL.Query())
	f, newest, limit, format := q.filter(), q.number("newest", 0), q.number("limit", 0),
		q.text("format")
	if err := q.err(); err != nil {
		return badRequest(err)
	}
	records := s.Records(f)
	if newest > 0 {
		records = slices.Values(s.Newest(f, newest))
	}
	switch {
	case format == "ndjson",
		format == "" && strings.Contains(r.Header.Get("Accept"), "application/x-ndjson"):
		w.Header().Set("Content-Type", "application/x-ndjson")
		writeRecords(w, first(records, limit), "", "", "")
	case format == "json", format == "":
		w.Header().Set("Content-Type", "application/json")
		writeRecords(w, first(records, limit), "[", ",", "]\n")
	default:
		return badRequest(fmt.Errorf("format %q: not json or ndjson", format))
	}
	return nil
}

// writeRecords streams: a million of them need no more memory than one. It ends early when the
// reader has gone.
func writeRecords(w io.Writer, records iter.Seq[Record], open, between, end string) {
	enc := plainjson.NewEncoder(w)
	lead := open
	for r := range records {
		if _, err := io.WriteString(w, lead); err != nil {
			return
		}
		if enc.Encode(r) != nil {
			return
		}
		lead = between
	}
	if lead == open {
		end = open + end // nothing came
	}
	_, _ = io.WriteString(w, end)
}

// first yields at most n records; all of them when n is 0.
func first(records iter.Seq[Record], n int) iter.Seq[Record] {
	if n <= 0 {
		return records
	}
	return func(yield func(Record) bool) {
		left := n
		for r := range records {
			if left--; !yield(r) || left == 0 {
				return
			}
		}
	}
}

func (s *Sandbox) deleteReceived(w http.ResponseWriter, _ *http.Request) error {
	s.Forget()
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// getCount answers a number, or with "by" an object of numbers, only those above "over".
func (s *Sandbox) getCount(w http.ResponseWriter, r *http.Request) error {
	q := newQuery(r.URL.Query())
	f, by, over := q.filter(), Field(q.text("by")), q.number("over", 0)
	if err := q.err(); err != nil {
		return badRequest(err)
	}
	switch by {
	case "":
		return writeJSON(w, http.StatusOK, map[string]int{"count": s.Count(f)})
	case ByOpenID, ByAppID, ByMsgType, ByErrcode, ByHash:
	default:
		return badRequest(fmt.Errorf("by %q: not openid, appid, msgtype, errcode or hash", by))
	}
	counts := s.CountBy(by, f)
	for value, n := range counts {
		if n <= over {
			delete(counts, value)
		}
	}
	return writeJSON(w, http.StatusOK, counts)
}

func (s *Sandbox) getStats(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, s.Stats())
}

// getWait answers the totals as soon as n calls have come, or 504 when they have not within the
// timeout.
func (s *Sandbox) getWait(w http.ResponseWriter, r *http.Request) error {
	q := newQuery(r.URL.Query())
	f, n, timeout := q.filter(), q.number("n", 1), q.duration("timeout", 30*time.Second)
	if err := q.err(); err != nil {
		return badRequest(err)
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	var err error
	if f == (Filter{}) {
		err = s.Wait(ctx, n)
	} else {
		err = s.WaitFor(ctx, f, n)
	}
	if err != nil {
		return &controlError{http.StatusGatewayTimeout,
			fmt.Errorf("waiting for %d calls: %w", n, err)}
	}
	return writeJSON(w, http.StatusOK, s.Stats())
}

func (s *Sandbox) postToken(w http.ResponseWriter, r *http.Request) error {
	var grant struct {
		AppID string `json:"appid"`
		Token string `json:"access_token"`
	}
	if err := readJSON(w, r, &grant); err != nil {
		return err
	}
	if grant.AppID == "" || grant.Token == "" {
		return badRequest(errors.New("appid and access_token are needed"))
	}
	s.Grant(grant.AppID, grant.Token)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Sandbox) expireTokens(w http.ResponseWriter, r *http.Request) error {
	q := newQuery(r.URL.Query())
	appID := q.text("appid")
	if err := q.err(); err != nil {
		return badRequest(err)
	}
	s.tokens.expireOf(appID)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Sandbox) postReset(w http.ResponseWriter, _ *http.Request) error {
	s.Reset()
	w.WriteHeader(http.StatusNoContent)
	return nil
}
