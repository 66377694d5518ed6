# A login shell that lies: what sshd starts with `-c COMMAND`. Who is logged in says which lie, in /etc/lies/USER.
use strict;
my $user = getpwuid($<);
open(my $file, '<', "/etc/lies/$user") or die;
my ($mode, $seed, @rest) = split /\s+/, <$file>;
close $file;
srand($seed || 1);
my $command = $ARGV[1] // '';
$| = 1;
sub say_all { my ($text) = @_; while (length $text) { my $n = syswrite(STDOUT, $text); exit unless defined $n; substr($text, 0, $n) = ''; } }

if ($mode eq 'never') { sleep 600; exit }
if ($mode eq 'drip') { while (1) { say_all('x'); sleep 2 } }
if ($mode eq 'flood') { my $x = ('y' x 1023) . "\n"; $x = $x x 64; say_all($x) for 1 .. 4800; sleep 600; exit }
if ($mode eq 'line') { my $x = 'y' x 65536; say_all($x) for 1 .. 160; sleep 600; exit }
if ($mode eq 'gone') { exit 0 }
if ($mode eq 'env') { open(my $to, '>', '/tmp/env'); print $to "$_=$ENV{$_}\n" for sort keys %ENV; close $to; }
my $noise = "\e[2J\e]0;owned\a\x9b31m\r\xc2\x9b1m\xe2\x80\xaeevil\e]52;c;aGk=\a\n";
say_all($noise) if $mode eq 'noise';
say_all("\xef\xbb\xbf\0\xff\xfe" . ('z' x 100000) . "\n") if $mode eq 'binary';

pipe(my $read, my $write) or die;
my $child = fork;
if (!$child) { close $read; open(STDOUT, '>&', $write); close $write; exec '/bin/sh', '-c', $command; }
close $write;
close STDIN;

# What stands in the place of a string.
my @odd = ('\u001b]0;owned\u0007', '\u009b31m', '\u202egnp', '\u0000', '\r\u001b[2K', '\ud800', '\u200b', '{{7*7}}', '$(touch /tmp/evaluated)', '`touch /tmp/evaluated`',
    '../../../etc/passwd', '__proto__', "\xe2\x80\xae", ('\u0301' x 500), '%s%n', "'; DROP TABLE x; --", '\u2028', '\ufeff');
my @plain = ("\e]0;owned\a", "\x9b31m", "\xc2\x9b31m", "\xe2\x80\xaegnp", "\0", "\r\e[2K", "\xed\xa0\x80", "\xe2\x80\x8b", '{{7*7}}', '$(touch /tmp/evaluated)',
    '`touch /tmp/evaluated`', '../../../etc/passwd', '__proto__', ("\xcc\x81" x 500), '%s%n', "'; DROP TABLE x; --", "\xe2\x80\xa8", "\xef\xbb\xbf");
my @types = ('null', '5', '-1', '1e308', '99999999999999999999', 'true', '[]', '{}', '[[[[[]]]]]', '{"a":{"b":[1]}}', '""', '"x"');
my $marks = 0;
sub changed {
    my ($line) = @_;
    if ($line =~ /^\@([0-9a-f]{32}) (.*)\n$/) {
        my ($nonce, $word) = ($1, $2);
        return $line if $word eq 'hello' || $word eq 'bare';
        return forged($line, $nonce, $word) if $mode =~ /^forge/;
        if ($mode eq 'success' && $word =~ /^(\d+) [1-9]\d*$/) { return "\@$nonce $1 0\n" }
        if ($mode eq 'bulk' && $word =~ /begin/ && $marks++ > 1) { my $x = ('y' x 1023) . "\n"; $x = $x x 64; say_all($x) for 1 .. 1200; return $line }
        if ($mode eq 'hang' && $marks++ > 3) { sleep 600 }
        return $line;
    }
    # What machines say are rows with tabs between their columns; what databases say is JSON.
    if ($line =~ /\t/) {
        my $rows = $line;
        if ($mode eq 'escapes') { $rows =~ s/([^\t\n]+)/rand() < 0.5 ? $1 . $plain[int rand @plain] : $1/ge }
        if ($mode eq 'raw') { $rows =~ s/([^\t\n]+)/"$1\e]0;owned\a\x9b31m"/ge }
        if ($mode eq 'types') { $rows =~ s/([^\t\n]+)/rand() < 0.3 ? $types[int rand @types] : $1/ge }
        if ($mode eq 'keys') { $rows =~ s/^([^\t\n]+)/rand() < 0.3 ? $plain[int rand @plain] : $1/e }
        if ($mode eq 'many') { $rows = $line x 20000 }
        return $rows if $rows ne $line;
    }
    if ($mode eq 'escapes') { $line =~ s/"((?:[^"\\]|\\.)*)"(?!\s*:)/'"' . $1 . $odd[int rand @odd] . '"'/ge; }
    if ($mode eq 'raw') { $line =~ s/"((?:[^"\\]|\\.)*)"(?!\s*:)/"\"$1\e]0;owned\a\x9b31m\""/ge; }
    if ($mode eq 'types') { $line =~ s/:\s*"(?:[^"\\]|\\.)*"/rand() < 0.3 ? ':' . $types[int rand @types] : $&/ge; }
    if ($mode eq 'keys') { $line =~ s/"(\w+)"\s*:/rand() < 0.3 ? '"' . $odd[int rand @odd] . '":' : $&/ge; }
    if ($mode eq 'many' && $line =~ /^\{/) { $line = $line x 20000; }
    if ($mode eq 'cutrows' && length $line > 10) { $line = substr($line, 0, int rand length $line) . "\n"; }
    if ($mode eq 'norows') { $line = '' }
    return $line;
}

# A mark that is not the one that was to come.
sub forged {
    my ($line, $nonce, $word) = @_;
    $marks++;
    return $line if $marks < 2 || rand() < 0.5;
    my ($id, $what) = split / /, $word;
    my $other = join '', map { sprintf '%x', rand 16 } 1 .. 32;
    my @ways = (
        "\@$other $word\n", "\@$nonce $id 256\n", "\@$nonce $id -1\n", "\@$nonce $id 1000000000\n", "\@$nonce $id +0\n", "\@$nonce $id 00\n", "\@$nonce $id\n", "\@$nonce \n",
        "\@$nonce " . ($id + 1) . " $what\n", "\@$nonce $id $what\n\n\@$nonce $id $what\n", "\@$nonce $id 0\n\n\@$nonce $id 0\n", "\@$nonce hello\n", "\@$nonce $id skip\n\n\@$nonce $id 0\n",
        "\@$nonce" . ('x' x 100000) . "\n", "\@$nonce $id $what", "", "\@$nonce $id \0\n", "\@$nonce $id \xff\n", "\@$nonce $id 0x0\n", "\@$nonce $id  0\n", "\@$nonce $id 0 \n", "\@$nonce $id 99999999999999999999\n");
    return $ways[int rand @ways];
}

my $held = '';
while (1) {
    my $n = sysread($read, $held, 65536, length $held);
    last unless $n;
    while ($held =~ s/^([^\n]*\n)//) { say_all(changed($1)) }
}
say_all($held);
sleep 600 if $mode eq 'close';
