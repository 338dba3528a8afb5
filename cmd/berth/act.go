package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// act has the registry do an action, named with its parameters, and calls line
// for everything that it tells. How far it has come is shown meanwhile.
func (c *adminClient) act(ctx context.Context, name string, line func(json.RawMessage) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://berth/admin/"+name, nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask the registry: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return fmt.Errorf("the registry answered %d: %s", resp.StatusCode, text)
	}
	lines := json.NewDecoder(resp.Body)
	for {
		var l struct {
			Told     json.RawMessage
			Progress *reached
			Error    string
			Done     bool
		}
		if err := lines.Decode(&l); err != nil {
			return fmt.Errorf("the registry's answer was cut off: %w", err)
		}
		if l.Progress != nil {
			c.progress.reach(*l.Progress)
			continue
		}
		c.progress.clear()
		switch {
		case l.Error != "":
			return errors.New(l.Error)
		case l.Done:
			return nil
		}
		if err := line(l.Told); err != nil {
			return err
		}
	}
}
