"""Events as streams of the Lab Streaming Layer, beside EEG, eye trackers and everything else of a lab."""
