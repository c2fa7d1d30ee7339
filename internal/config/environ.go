package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// loadEnviron takes the KEFU_ variables that are keys. The names of keys contain underscores, so a
// variable is looked up among the known ones and not split.
func (l *loader) loadEnviron(environ []string) {
	var unknown []string
	for _, entry := range environ {
		name, value, ok := strings.Cut(entry, "=")
		if !ok || !strings.HasPrefix(name, envPrefix) {
			continue
		}
		key, isKey := keyOfVariable(name)
		switch {
		case !isKey:
			unknown = append(unknown, name)
		case value != "":
			l.put(key, value, origin{place: name})
		}
	}
	l.reportUnknown(unknown)
}

var appVariable = regexp.MustCompile(`^KEFU_APPS_(\d{1,4})_(.+)$`)

// keyOfVariable returns the key that a variable sets.
func keyOfVariable(name string) (string, bool) {
	if key, ok := known().env[name]; ok {
		return key, true
	}
	m := appVariable.FindStringSubmatch(name)
	if m == nil {
		return "", false
	}
	for leaf := range known().leaves {
		if rest, isApp := strings.CutPrefix(leaf, "apps[]."); isApp &&
			envName(rest) == envPrefix+m[2] {
			index, _ := strconv.Atoi(m[1]) // up to four digits
			return appsPath + strconv.Itoa(index) + "." + rest, true
		}
	}
	return "", false
}

// kubernetesVariable matches what Kubernetes sets in each container for a service called kefu or
// kefu-something.
var kubernetesVariable = regexp.MustCompile(`^KEFU_([A-Z0-9_]+_)?` +
	`(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// reportUnknown warns of variables that are no keys, and refuses those that hold a secret's value.
func (l *loader) reportUnknown(names []string) {
	slices.Sort(names)
	var kubernetes []string
	for _, name := range slices.Compact(names) {
		last := strings.ToLower(name[strings.LastIndexByte(name, '_')+1:])
		switch {
		case name == envFile:
		case l.isSecretVariable(name): // an app's secret_env may well be called KEFU_…
		case appVariable.MatchString(name) && isSecretName(last):
			l.problems = append(l.problems,
				Problem{File: name,
					Text: "a secret is not a setting: name the variable it is in with secret_env"})
		case kubernetesVariable.MatchString(name):
			kubernetes = append(kubernetes, name)
		default:
			text := "is not a setting of kefu and has no effect"
			if near := nearestVariable(name); near != "" {
				text += ", did you mean " + near + "?"
			}
			l.warnings = append(l.warnings, Warning{Problem{File: name, Text: text}})
		}
	}
	if len(kubernetes) > 0 {
		what := kubernetes[0]
		if more := len(kubernetes) - 1; more > 0 {
			what = fmt.Sprintf("%s and %d more", what, more)
		}
		l.warnings = append(l.warnings, Warning{Problem{
			File: what,
			Text: "set by Kubernetes for a service of this name, no settings of kefu " +
				"(enableServiceLinks: false leaves them out)",
		}})
	}
}

// isSecretVariable reports whether an app names this variable in secret_env.
func (l *loader) isSecretVariable(name string) bool {
	for key, text := range l.values {
		if text == name && strings.HasPrefix(key, appsPath) &&
			strings.HasSuffix(key, ".secret_env") {
			return true
		}
	}
	return false
}
