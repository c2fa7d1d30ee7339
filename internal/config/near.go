package config

import "strings"

// nearest returns the known key that was most likely meant by an unknown one, or "" when none
// resembles it. A key with a known name in the wrong group is found by its name: for per_second at
// the top it is defaults.rate.per_second.
func nearest(key string) string {
	cat := known()
	parent, name := split(key)
	best, bestDistance := "", tolerance(name)+1
	for _, sibling := range cat.groups[parent] {
		if d := distance(name, sibling); d < bestDistance {
			best, bestDistance = join(parent, sibling), d
		}
	}
	if best != "" {
		return best
	}
	inApp := strings.HasPrefix(key, "apps[]")
	for _, leaf := range cat.order {
		if _, last := split(leaf); last == name && strings.HasPrefix(leaf, "apps[]") == inApp {
			return leaf
		}
	}
	bestDistance = tolerance(key) + 1
	for _, leaf := range cat.order {
		if d := distance(key, leaf); d < bestDistance {
			best, bestDistance = leaf, d
		}
	}
	return best
}

// nearestVariable does the same for environment variables of keys outside of apps.
func nearestVariable(name string) string {
	best, bestDistance := "", 3
	for _, key := range known().order {
		variable := envName(key)
		if _, ok := known().env[variable]; !ok {
			continue
		}
		if d := distance(name, variable); d < bestDistance {
			best, bestDistance = variable, d
		}
	}
	return best
}

// tolerance returns how many typing errors a word of this length may have.
func tolerance(word string) int {
	return max(1, min(3, len(word)/3))
}

// distance returns the edit distance of a and b, without regard to case. Inserting, deleting or
// replacing a letter counts one, as does swapping two neighbours (Damerau and Levenshtein).
func distance(a, b string) int {
	a, b = strings.ToLower(a), strings.ToLower(b)
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}

func join(parent, name string) string {
	if parent == "" {
		return name
	}
	return parent + "." + name
}
