package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// fileReader puts the values of a YAML file into the loader. It knows the tree: it refuses keys
// that are not in it, keys given twice, and values where a group belongs, each with its line.
// Values stay the text that was written, so that `off` is a word, `48h` is no string by accident,
// and one set of rules reads file, environment and flags alike.
type fileReader struct{ into *loader }

func (r fileReader) read(content []byte) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return // nothing but comments
	} else if err != nil {
		r.syntax(err)
		return
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		r.add(0, "", "holds more than one YAML document")
		return
	}
	r.group(document.Content[0], "")
}

var lineOfSyntax = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntax reports an error of the YAML parser, with the line in front.
func (r fileReader) syntax(err error) {
	line, message := 0, err.Error()
	if m := lineOfSyntax.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1]) // no line is line 0
		message = message[len(m[0]):]
	}
	r.add(line, "", "is not YAML: "+message)
}

// group reads a mapping: the whole file, or one of the groups in it.
func (r fileReader) group(node *yaml.Node, key string) {
	node = target(node)
	if isNull(node) {
		return
	}
	if node.Kind != yaml.MappingNode {
		names := strings.Join(known().groups[pattern(key)], ", ")
		if key == "" {
			r.add(node.Line, "",
				"is not a group of keys ("+strings.ReplaceAll(names, "apps[]", "apps")+")")
			return
		}
		r.add(node.Line, key, "is a group of keys ("+names+"), not a single value or a list")
		return
	}
	first := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		child := join(key, name.Value)
		if line, twice := first[name.Value]; twice {
			r.add(name.Line, child, fmt.Sprintf("is given twice, first on line %d", line))
			continue
		}
		first[name.Value] = name.Line
		r.member(name, value, child)
	}
}

// member reads one key of a group with what it holds.
func (r fileReader) member(name, value *yaml.Node, key string) {
	cat := known()
	switch _, isGroup := cat.groups[pattern(key)]; {
	case key == "apps":
		r.apps(value)
	case name.ShortTag() == "!!merge":
		r.add(name.Line, key, "merge keys are not read: what apps share belongs under defaults")
	case strings.Contains(name.Value, "."):
		r.unknown(name, key, ", write it nested: one name per level")
	case cat.leaves[pattern(key)]:
		r.leaf(value, key)
	case isGroup:
		r.group(value, key)
	case isSecretName(name.Value):
		r.addNamed(name.Line, key, literalSecret(key))
	default:
		r.unknown(name, key, "")
	}
}

func (r fileReader) unknown(name *yaml.Node, key, hint string) {
	r.addNamed(name.Line, key, "unknown key "+display(key)+suggestion(key, hint))
}

// suggestion returns the end of the sentence about an unknown key.
func suggestion(key, hint string) string {
	if hint != "" {
		return hint
	}
	if near := nearest(pattern(key)); near != "" {
		if i, _, ok := cutApp(key); ok {
			near = strings.Replace(near, "apps[]", fmt.Sprintf("apps[%d]", i), 1)
		}
		return ", did you mean " + near + "?"
	}
	parent, _ := split(key)
	names := strings.Join(known().groups[pattern(parent)], ", ")
	return " (known are " + strings.ReplaceAll(names, "apps[]", "apps") + ")"
}

// apps reads the list of apps.
func (r fileReader) apps(node *yaml.Node) {
	node = target(node)
	if isNull(node) {
		return
	}
	if node.Kind != yaml.SequenceNode {
		r.add(node.Line, "apps", "is a list: start each app with \"- appid: …\"")
		return
	}
	for i, item := range node.Content {
		key := appsPath + strconv.Itoa(i)
		// The app exists even if nothing in it can be read. A missing appid is reported here.
		r.into.apps[i] = r.at(item.Line)
		if isNull(target(item)) {
			r.add(item.Line, key, "is empty")
			continue
		}
		r.group(item, key)
	}
}

// leaf reads one value.
func (r fileReader) leaf(node *yaml.Node, key string) {
	node = target(node)
	switch {
	case isNull(node): // `key:` without a value keeps the default
	case node.Kind != yaml.ScalarNode:
		r.add(node.Line, key, "takes one value, not a group or a list")
	default:
		r.into.put(key, node.Value, r.at(node.Line))
	}
}

func (r fileReader) at(line int) origin { return origin{r.into.cfg.file, line} }

// add reports a problem with the key.
func (r fileReader) add(line int, key, text string) {
	r.report(Problem{Line: line, Key: key, Text: text})
}

// addNamed does the same with a sentence that names the key itself.
func (r fileReader) addNamed(line int, key, text string) {
	r.report(Problem{Line: line, Key: key, Text: text, inText: true})
}

func (r fileReader) report(p Problem) {
	r.into.failed[p.Key] = true
	p.File, p.Key = r.into.cfg.file, display(p.Key)
	r.into.problems = append(r.into.problems, p)
}

// target returns the node that an alias (*name) refers to. The depth of the tree of keys bounds how
// deep aliases nest.
func target(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

func isNull(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}

// isSecretName reports whether a key looks like an AppSecret that somebody wants to write here.
func isSecretName(name string) bool {
	switch strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(name)) {
	case "secret", "appsecret", "secretkey", "password":
		return true
	}
	return false
}

func literalSecret(key string) string {
	return display(key) + " is not a key: a secret never stands in the configuration; put it " +
		"into a file only kefu can read and name that in secret_file"
}

var appIndex = regexp.MustCompile(`^apps\.(\d+)`)

// display returns a key as people write it: apps[0].rate.burst.
func display(key string) string { return appIndex.ReplaceAllString(key, "apps[$1]") }

// pattern returns a key as the catalog has it: apps[].rate.burst.
func pattern(key string) string { return appIndex.ReplaceAllString(key, "apps[]") }

var displayedIndex = regexp.MustCompile(`^apps\[(\d+)\]`)

// internal is the reverse of displar.
func internal(path string) string { return displayedIndex.ReplaceAllString(path, "apps.$1") }

// cutApp splits apps.0.rate.burst into 0 and rate.burst.
func cutApp(key string) (index int, rest string, ok bool) {
	tail, ok := strings.CutPrefix(key, appsPath)
	if !ok {
		return 0, "", false
	}
	number, rest, ok := strings.Cut(tail, ".")
	index, err := strconv.Atoi(number)
	return index, rest, ok && err == nil
}
